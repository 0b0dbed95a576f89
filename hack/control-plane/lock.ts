/** A lock between processes: a folder with the owner's pid. A lock whose owner is gone is taken over. */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { errorCode } from '../../src/errors.ts'

const POLL_MS = 250
const TOUCH_MS = 5_000
/** The owner touches its lock every five seconds; one that is not touched for this long has no owner. */
const STALE_MS = 60_000

interface Owner {
  pid: number
  host: string
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives and belongs to someone else.
    return errorCode(error) === 'EPERM'
  }
}

const ignoreMissing = (error: unknown): undefined => {
  if (errorCode(error) !== 'ENOENT') throw error
  return undefined
}

const readOwner = async (lock: string): Promise<Owner | undefined> => {
  const text = await readFile(join(lock, 'owner.json'), 'utf8').catch(ignoreMissing)
  try {
    const owner: Owner | undefined = text === undefined ? undefined : JSON.parse(text)
    return owner
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

const isStale = async (lock: string): Promise<boolean> => {
  const age = await stat(lock).then((found) => Date.now() - found.mtimeMs).catch(ignoreMissing)
  if (age === undefined) return false
  const owner = await readOwner(lock)
  return age > STALE_MS || (owner !== undefined && owner.host === hostname() && !isAlive(owner.pid))
}

/** Moves the stale lock away first: of two processes that try, one succeeds. A lock that was renewed meanwhile goes back. */
const takeAway = async (lock: string): Promise<void> => {
  const aside = `${lock}.stale-${process.pid}-${Date.now()}`
  await rename(lock, aside).catch(ignoreMissing)
  if (existsSync(aside) && !(await isStale(aside))) await rename(aside, lock)
  await rm(aside, { recursive: true, force: true })
}

const tryLock = async (lock: string): Promise<boolean> => {
  await mkdir(dirname(lock), { recursive: true, mode: 0o700 })
  try {
    await mkdir(lock, { mode: 0o700 })
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  }
  await writeFile(join(lock, 'owner.json'), JSON.stringify({ pid: process.pid, host: hostname() } satisfies Owner))
  return true
}

export interface LockOptions {
  /** Called once, with the owner's pid when known, if another process holds the lock. */
  onWait?: (pid: number | undefined) => void
  /** Do not wait: give up at once when another process holds the lock. */
  wait?: boolean
  /** Aborting ends the waiting. */
  signal?: AbortSignal
}

/** @returns a function that gives the lock back, or undefined when it is held by another process and `wait` is false. */
export const takeLock = async (lock: string, { onWait, wait = true, signal }: LockOptions = {}): Promise<(() => Promise<void>) | undefined> => {
  for (let told = false; !(await tryLock(lock)); ) {
    if (await isStale(lock)) {
      await takeAway(lock)
      continue
    }
    if (!wait) return undefined
    if (!told) onWait?.((await readOwner(lock))?.pid)
    told = true
    await delay(POLL_MS, undefined, signal === undefined ? {} : { signal })
  }
  const touch = setInterval(() => {
    const now = new Date()
    utimes(lock, now, now).catch(ignoreMissing)
  }, TOUCH_MS).unref()
  return async () => {
    clearInterval(touch)
    await rm(lock, { recursive: true, force: true })
  }
}
