import { setImmediate } from 'node:timers/promises'
import { sleep, type Timers } from '../kube/timers.ts'
import type { OpenConnections } from './open-connections.ts'

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
  server: { close(): unknown }
  close(): PromiseLike<unknown>
}

export interface DrainTimes {
  /** How long calls are served after the drain began, milliseconds. */
  drainMs: number
  /** How long calls in flight may take after that before their connections are cut, milliseconds. */
  closeMs: number
}

interface DrainDeps {
  app: Closing
  /** Those of the app's server. */
  connections: OpenConnections
  drain: Drain
  timers: Timers
}

/** Serves on for `drainMs`, then closes: at once what is idle, and the rest when its call is answered. Resolves when no connection is left. */
export const drainAndClose = async ({ app, connections, drain, timers }: DrainDeps, { drainMs, closeMs }: DrainTimes): Promise<void> => {
  drain.start()
  await sleep(timers, drainMs)
  const cancel = timers.after(closeMs, () => connections.closeAll())
  try {
    // Calls that have reached this machine are read, and by that are under way, before it is looked who is idle.
    await setImmediate()
    // The app would stop listening some turns later, and what came in between would be seen as idle by nobody.
    app.server.close()
    connections.closeUnused()
    await app.close()
  } finally {
    cancel()
  }
}
