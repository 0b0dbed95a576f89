/** Runs a program to its end and keeps what it said. */
import { spawn } from 'node:child_process'

export interface RunOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
  input?: string
  signal?: AbortSignal
  /** Called with each piece of standard error as it comes. */
  onStderr?: (text: string) => void
}

export interface RunResult {
  stdout: string
  stderr: string
  /** 128 and more: ended by a signal. */
  code: number
}

/** @throws Error of node:child_process when the program cannot be started, or AbortError */
export const run = (command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> =>
  new Promise((resolve, reject) => {
    const { cwd, env, input, signal, onStderr } = options
    const child = spawn(command, args, {
      ...(cwd !== undefined && { cwd }),
      ...(env !== undefined && { env }),
      ...(signal !== undefined && { signal }),
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
      onStderr?.(text)
    })
    child.once('error', reject)
    child.once('close', (code, endSignal) => resolve({ stdout, stderr, code: code ?? (endSignal === null ? 1 : 128) }))
    // A program that ends without reading its input closes the pipe; its exit code tells what happened.
    child.stdin.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') reject(error)
    })
    child.stdin.end(input ?? '')
  })

/** The end of a longer text, for a message. */
export const lastLines = (text: string, count: number): string => text.trimEnd().split('\n').slice(-count).join('\n')
