/** How many connections are open at once: whoever reaches the port may open them without a certificate of his own, and each takes memory. */
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import type { Timers } from '../kube/timers.ts'
import type { OpenConnections } from './open-connections.ts'

/** As much of a server over HTTP or HTTPS as is needed to bound its connections. */
export interface Boundable {
  /** Node closes at once what comes beyond it. */
  maxConnections: number
  readonly headersTimeout: number
  on(event: 'connection', told: (socket: Socket) => void): unknown
  on(event: 'drop', told: () => void): unknown
  closeIdleConnections(): void
}

/** The part of the bound that is kept free for what is new: what is closed takes a moment to be gone. */
const FREE_PART = 0.1
/** How often it looks for those that send and never call. */
const LOOK_EVERY_MS = 5_000
/** Told once in so many milliseconds: a line for each would be one more burden. */
const TOLD_MS = 60_000

interface Deps {
  server: Boundable
  /** Those of the server. */
  connections: Pick<OpenConnections, 'count' | 'closeOldestUnheard' | 'closeStalled'>
  timers: Timers
  logger: Pick<Logger, 'warn'>
}

/**
 * Near the bound a new connection takes the place of the oldest that has not brought the headers of a call yet, and where there is none, of
 * those between two calls; only when a call is under way on each is it turned away. What is sent and is no call has the server's time for
 * headers. To be called before the server listens.
 * @returns ends it
 */
export const boundConnections = ({ server, connections, timers, logger }: Deps, most: number): (() => void) => {
  let toldAt = Number.NEGATIVE_INFINITY
  const tell = (): void => {
    if (timers.monotonic() - toldAt < TOLD_MS) return
    toldAt = timers.monotonic()
    logger.warn(`nearly ${most} connections are open: those without a call under way are closed for new ones; let only the API server reach this port`)
  }
  server.maxConnections = most
  server.on('drop', tell)
  server.on('connection', (newest) => {
    if (connections.count <= most * (1 - FREE_PART)) return
    tell()
    if (!connections.closeOldestUnheard(newest)) server.closeIdleConnections()
  })
  let cancel: () => void
  const look = (): void => {
    connections.closeStalled(timers.monotonic(), server.headersTimeout)
    cancel = timers.after(LOOK_EVERY_MS, look)
  }
  cancel = timers.after(LOOK_EVERY_MS, look)
  return () => cancel()
}
