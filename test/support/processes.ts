import { once } from 'node:events'
import { spawn, type ChildProcess } from 'node:child_process'
import { errorCode } from '../../src/errors.ts'

/** Whether a process, or with a negative id a process group, is there. */
export const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false
    throw error
  }
}

/** Starts a script of test/support and waits for the one line of JSON that it says, its `said`. It leads a process group of its own. */
export const startScript = async (script: string, args: readonly string[]): Promise<{ child: ChildProcess; said: string }> => {
  const child = spawn(process.execPath, [script, ...args], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8')
  while (!text.includes('\n')) {
    const outcome = await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => undefined)])
    if (outcome === undefined) throw new Error(`${script} ended before it said anything: ${text}`)
    text += String(outcome[0])
  }
  return { child, said: text }
}

/** Ends a process and waits until it is gone. */
export const kill = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
  const exit = once(child, 'exit')
  child.kill(signal)
  await exit
}
