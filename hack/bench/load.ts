/** The load process, from the side of the benchmark. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { readLines } from '../control-plane/guard-protocol.ts'
import type { LoadAnswer, LoadJob } from './load-protocol.ts'

export interface LoadResult {
  seconds: number
  requests: number
  /** The answers of the last turn. */
  lastBodies: string[]
}

export interface Load {
  /** One job at a time. @throws Error when an answer was not the expected one, or the signal aborts */
  run(job: LoadJob): Promise<LoadResult>
  stop(): Promise<void>
}

export const startLoad = (signal: AbortSignal): Load => {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'load-process.ts')], { stdio: ['pipe', 'pipe', 'inherit'] })
  const gone = once(child, 'exit')
  let waiting: PromiseWithResolvers<LoadResult> | undefined
  const settle = (answer: LoadAnswer): void => {
    if (answer.ok) waiting?.resolve(answer)
    else waiting?.reject(new Error(answer.message))
    waiting = undefined
  }
  child.stdout.setEncoding('utf8').on(
    'data',
    readLines((line) => {
      const answer: LoadAnswer = JSON.parse(line)
      settle(answer)
    }),
  )
  // That it is gone is told by "exit".
  child.stdin.on('error', () => undefined)
  child.once('exit', () => settle({ ok: false, message: 'the load process ended' }))
  const onAbort = (): void => void child.kill('SIGKILL')
  signal.addEventListener('abort', onAbort, { once: true })
  return {
    run: (job) => {
      signal.throwIfAborted()
      if (waiting !== undefined) throw new Error('the load process has a job already')
      waiting = Promise.withResolvers()
      child.stdin.write(`${JSON.stringify(job)}\n`)
      return waiting.promise
    },
    stop: async () => {
      signal.removeEventListener('abort', onAbort)
      child.stdin.end()
      await gone
    },
  }
}
