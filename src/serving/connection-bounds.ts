/** The bounds of connections that the API server makes to us over TLS, whatever is served on them. */

/** A handshake that takes longer is given up, milliseconds. */
export const HANDSHAKE_MS = 10_000

/** For the `https` of fastify. */
export const TLS_BOUNDS = {
  handshakeTimeout: HANDSHAKE_MS,
  headersTimeout: 10_000,
  /** How often Node looks for connections past its bounds; its own 30 s would let a slow sender stay three times as long. */
  connectionsCheckingInterval: 5_000,
}

/** For fastify. */
export const IDLE_BOUNDS = {
  /** Longer than the 90 s after which the API server gives up an idle connection: otherwise we would close one that it is about to use. */
  keepAliveTimeout: 120_000,
  /** While closing, what still comes is answered and not turned away; see drain.ts. */
  return503OnClosing: false,
}
