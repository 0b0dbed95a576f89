/** Starts programs under a guard process, so that none outlives us, whatever ends us. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { errorCode } from '../../src/errors.ts'
import { ControlPlaneFailure } from './failure.ts'
import { readLines, type GuardCommand, type GuardEvent, type GuardSettings, type StartCommand } from './guard-protocol.ts'

export interface Guard {
  pid: number
  /** Starts a program. @returns its pid @throws ControlPlaneFailure when it cannot be started */
  start(command: Omit<StartCommand, 'do'>): Promise<number>
  /** How a program ended; undefined while it runs. */
  exitOf(name: string): string | undefined
  /** Called when a program ends, wanted or not. */
  onExit(listener: (name: string, reason: string) => void): void
  /** Ends the one program and waits until it is gone. */
  stop(name: string): Promise<void>
  /** Ends the one program by SIGKILL, and waits until it is gone. */
  kill(name: string): Promise<void>
  /** From now on the guard keeps this process alive no longer: when everything else is done, it ends, and the programs with it. */
  unref(): void
  /** Ends all programs, and removes the folder if so told; returns when the guard is gone. */
  close(): Promise<void>
}

/** If the guard itself dies, its programs go with it by our hand. */
const killGroup = (pid: number): void => {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error
  }
}

/**
 * @param within a command that runs the guard, given to it as more arguments, in process namespaces of its own, where it is ended
 *   with all its programs when the command is. The ids of the programs are those of that namespace.
 */
export const startGuard = (settings: GuardSettings, within: readonly string[] = []): Guard => {
  const [program, ...args] = [...within, process.execPath, join(import.meta.dirname, 'guard.ts'), JSON.stringify(settings)]
  const child = spawn(program, args, {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const gone = once(child, 'close')
  // The pipes of a child are sockets, and hold the process as the child does.
  const handles = [child, ...[child.stdin, child.stdout].filter((pipe) => pipe instanceof Socket)]
  const pids = new Map<string, number>()
  const exits = new Map<string, string>()
  const listeners = new Set<(event: GuardEvent) => void>()
  const tell = (event: GuardEvent): void => {
    if (event.event === 'started') pids.set(event.name, event.pid)
    else {
      pids.delete(event.name)
      exits.set(event.name, event.reason)
    }
    for (const listener of listeners) listener(event)
  }
  child.stdout.setEncoding('utf8').on('data', readLines((line) => {
    const event: GuardEvent = JSON.parse(line)
    tell(event)
  }))
  // The guard is gone: "close" says so too, and that is where it is dealt with.
  child.stdin.on('error', () => undefined)
  child.once('close', () => {
    for (const [name, pid] of pids) {
      if (within.length === 0) killGroup(pid)
      tell({ event: 'exited', name, reason: 'the guard process died' })
    }
  })
  const send = (command: GuardCommand): void => void child.stdin.write(`${JSON.stringify(command)}\n`)

  const end = async (how: 'stop' | 'kill', name: string): Promise<void> => {
    if (!pids.has(name)) return
    const answer = eventOf(name)
    send({ do: how, name })
    await answer
  }

  /** Whoever waits for an answer of the guard must not end meanwhile. */
  let waiting = 0
  let isKept = true
  const keepAlive = (): void => {
    for (const handle of handles) {
      if (isKept || waiting > 0) handle.ref()
      else handle.unref()
    }
  }

  const eventOf = async (name: string): Promise<GuardEvent> => {
    waiting += 1
    keepAlive()
    try {
      return await nextEvent(name)
    } finally {
      waiting -= 1
      keepAlive()
    }
  }

  const nextEvent = (name: string): Promise<GuardEvent> =>
    new Promise((resolve, reject) => {
      const onGone = (): void => reject(new ControlPlaneFailure('the guard process died; start again'))
      const listener = (event: GuardEvent): void => {
        if (event.name !== name) return
        listeners.delete(listener)
        child.off('close', onGone)
        resolve(event)
      }
      listeners.add(listener)
      child.once('close', onGone)
    })

  return {
    pid: child.pid ?? -1,
    start: async (command) => {
      exits.delete(command.name)
      const answer = eventOf(command.name)
      send({ do: 'start', ...command })
      const event = await answer
      if (event.event === 'started') return event.pid
      throw new ControlPlaneFailure(`${command.command} cannot be started: ${event.reason}`)
    },
    exitOf: (name) => exits.get(name),
    onExit: (listener) => void listeners.add((event) => event.event === 'exited' && listener(event.name, event.reason)),
    stop: (name) => end('stop', name),
    kill: (name) => end('kill', name),
    unref: () => {
      isKept = false
      keepAlive()
    },
    close: async () => {
      isKept = true
      keepAlive()
      child.stdin.end()
      await gone
      // The guard does this; it may have been killed.
      if (settings.removeAtEnd !== undefined) await rm(settings.removeAtEnd, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
