import { setTimeout as delay } from 'node:timers/promises'

/** Asks again and again. @throws Error when the condition does not hold within the bound (milliseconds) */
export const waitUntil = async (what: string, condition: () => boolean | Promise<boolean>, boundMs = 30_000): Promise<void> => {
  const end = Date.now() + boundMs
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`within ${boundMs / 1000} s it did not come true: ${what}`)
    await delay(20)
  }
}
