/**
 * A process that outlives its starter by a moment: it runs the programs, and ends them all when its standard input closes,
 * which also happens when the starter is killed. It runs in a session of its own, where no Ctrl-C of the terminal comes.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { messageOf, errorCode } from '../../src/errors.ts'
import { readLines, type GuardCommand, type GuardEvent, type GuardSettings, type StartCommand } from './guard-protocol.ts'

interface Running {
  child: ChildProcess
  ended: Promise<void>
}

const settings: GuardSettings = JSON.parse(process.argv[2] ?? '{}')
/** In order of their start; they are ended in the opposite order. */
const running = new Map<string, Running>()

const say = (event: GuardEvent): void => void process.stdout.write(`${JSON.stringify(event)}\n`)

/** Each program leads a process group of its own, so that what it started goes with it. */
const signalGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error
  }
}

const start = ({ name, command, args, cwd, logFile }: StartCommand): void => {
  const log = openSync(logFile, 'a', 0o600)
  const child = spawn(command, args, { cwd, detached: true, stdio: ['ignore', log, log] })
  closeSync(log)
  const ended = new Promise<void>((resolve) => {
    const end = (reason: string): void => {
      if (running.get(name)?.child === child) running.delete(name)
      say({ event: 'exited', name, reason })
      resolve()
    }
    child.once('error', (error) => end(messageOf(error)))
    child.once('exit', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`))
  })
  running.set(name, { child, ended })
  if (child.pid !== undefined) say({ event: 'started', name, pid: child.pid })
}

const stop = async ({ child, ended }: Running): Promise<void> => {
  signalGroup(child, 'SIGTERM')
  const force = setTimeout(() => signalGroup(child, 'SIGKILL'), settings.graceMs)
  await ended
  clearTimeout(force)
}

const obey = (line: string): void => {
  const command: GuardCommand = JSON.parse(line)
  if (command.do === 'start') return start(command)
  const one = running.get(command.name)
  if (one === undefined) return
  if (command.do === 'kill') signalGroup(one.child, 'SIGKILL')
  else void stop(one)
}

let isEnding = false
const end = async (): Promise<void> => {
  if (isEnding) return
  isEnding = true
  for (const one of [...running.values()].toReversed()) await stop(one)
  if (settings.removeAtEnd !== undefined) await rm(settings.removeAtEnd, { recursive: true, force: true, maxRetries: 5 })
  process.exit(0)
}

const endAndReport = (): void => {
  end().catch((error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exit(1)
  })
}

for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.on('SIGTERM', endAndReport)
// The starter may be gone: that nobody hears us must not end us before the programs have ended.
process.stdout.on('error', endAndReport)
process.stdin.setEncoding('utf8').on('data', readLines(obey)).on('end', endAndReport).on('error', endAndReport)
