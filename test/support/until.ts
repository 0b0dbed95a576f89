import { setTimeout as delay } from 'node:timers/promises'

/** Waits for a condition, for at most 20 s. @throws Error that names what did not come true */
export const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
  const end = performance.now() + 20_000
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what}: did not come true within 20 s`)
    await delay(10)
  }
}
