import { isCoded } from '../../src/errors.ts'

/** What a function returned, or `CODE: message` of the coded error it threw; any other error goes on. */
export const outcome = <T>(run: () => T): T | string => {
  try {
    return run()
  } catch (error) {
    if (isCoded(error)) return `${error.code}: ${error.message}`
    throw error
  }
}
