/**
 * The bounds of connections that the API server makes to us over TLS, whatever is served on them.
 *
 * One on which no call is under way is left for the other end to close. Closed from here it may meet a call that is just being sent on it,
 * and that call fails: Go, in which the API server is written, sends a POST again only when not one byte of it has left.
 */

/** A handshake that takes longer is given up, milliseconds. */
export const HANDSHAKE_MS = 10_000

/** Longer than the 90 s after which the API server gives up a connection without a call, milliseconds. */
export const KEPT_MS = 120_000

/** Open at once in one replica. Three API servers that have 600 calls each under way make 900 to each of two replicas; these many hold about 60 MiB. */
export const MOST_CONNECTIONS = 1_000

/** For the `https` of fastify. */
export const TLS_BOUNDS = {
  handshakeTimeout: HANDSHAKE_MS,
  /** From the first byte of a call on: see unused-connections.ts. */
  headersTimeout: 10_000,
  /** How often Node looks for connections past its bounds; its own 30 s would let a slow sender stay three times as long. */
  connectionsCheckingInterval: 5_000,
}

/** For fastify. */
export const IDLE_BOUNDS = {
  keepAliveTimeout: KEPT_MS,
  /** While closing, what still comes is answered and not turned away; see drain.ts. */
  return503OnClosing: false,
}
