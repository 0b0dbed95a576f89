import { sleep, type Timers } from '../kube/timers.ts'

/**
 * Whether the server is on its way out. The API server goes on using open connections to a Pod that terminates, so while
 * draining every call is still answered, each reply asks for the connection to be closed, and only then is the server closed.
 */
export interface Drain {
  readonly draining: boolean
  start(): void
}

export const createDrain = (): Drain => {
  let draining = false
  return {
    get draining() {
      return draining
    },
    start: () => {
      draining = true
    },
  }
}

/** As much of a fastify server as is needed to close it. */
export interface Closing {
  server: { closeAllConnections(): void }
  close(): PromiseLike<unknown>
}

export interface DrainTimes {
  /** How long calls are served after the drain began, milliseconds. */
  drainMs: number
  /** How long calls in flight may take after that before their connections are cut, milliseconds. */
  closeMs: number
}

/** Serves on for `drainMs`, then closes; resolves when no connection is left. */
export const drainAndClose = async (app: Closing, drain: Drain, timers: Timers, { drainMs, closeMs }: DrainTimes): Promise<void> => {
  drain.start()
  await sleep(timers, drainMs)
  const cancel = timers.after(closeMs, () => app.server.closeAllConnections())
  try {
    await app.close()
  } finally {
    cancel()
  }
}
