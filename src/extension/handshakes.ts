/** Under which configuration the certificate of a connection was judged in its handshake. */
import type { Timers } from '../kube/timers.ts'
import { HANDSHAKE_MS } from '../serving/connection-bounds.ts'
import type { ClientTrust } from './client-trust.ts'

/** Timers come late on a busy machine. */
const MARGIN_MS = 5_000

/**
 * Node does not hand over what a client sent besides its own certificate, so a path over other certificates is known to the handshake alone,
 * and its verdict is good as long as the CAs are the ones that it went by.
 */
export interface Handshakes {
  /** To be called for each connection when its handshake is done. */
  done(socket: object): void
  /** @returns undefined when it may have been an older configuration */
  judgedUnder(socket: object): ClientTrust | undefined
}

export const createHandshakes = (trust: { readonly current: ClientTrust | undefined }, timers: Pick<Timers, 'monotonic'>): Handshakes => {
  const judged = new WeakMap<object, ClientTrust>()
  return {
    done: (socket) => {
      const { current } = trust
      // One that was begun under the CAs before may have ended since.
      if (current !== undefined && timers.monotonic() - current.since > HANDSHAKE_MS + MARGIN_MS) judged.set(socket, current)
    },
    judgedUnder: (socket) => judged.get(socket),
  }
}
