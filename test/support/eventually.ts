import { setTimeout as delay } from 'node:timers/promises'

const POLL_MS = 20

/**
 * Reads again and again until there is something other than undefined.
 * @param boundMs milliseconds; generous, for it costs nothing while things work, and a busy machine takes its time
 * @param seen what was there at last, for the error
 * @throws Error when nothing was there within the bound
 */
export const eventually = async <T>(what: string, read: () => T | undefined | Promise<T | undefined>, boundMs = 60_000, seen: () => unknown = () => undefined): Promise<T> => {
  const end = performance.now() + boundMs
  for (;;) {
    const value = await read()
    if (value !== undefined) return value
    if (performance.now() > end) {
      const last = seen()
      throw new Error(`within ${boundMs / 1000} s it did not come true: ${what}${last === undefined ? '' : `; at last: ${JSON.stringify(last)}`}`)
    }
    await delay(POLL_MS)
  }
}

/** Waits until a question is answered with yes. @throws Error as eventually */
export const untilTrue = async (what: string, ask: () => boolean | Promise<boolean>, boundMs?: number): Promise<void> => {
  await eventually(what, async () => ((await ask()) ? true : undefined), boundMs)
}
