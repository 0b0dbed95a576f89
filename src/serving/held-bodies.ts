/**
 * How much of unfinished bodies is held at once. Whoever reaches the port may begin to send without a certificate of his own, and
 * stop before the end; by the bounds of one request alone some dozens of connections would fill the memory.
 */
import type { IncomingMessage } from 'node:http'
import type { Logger } from 'pino'

/** Bodies of this size and less are not counted: nearly all reviews are, and so many connections cost more than their bodies. */
const SMALL = 64 * 1024

/** Told once in so many milliseconds: a line for each would be one more burden. */
const TOLD_MS = 60_000

export interface HeldBodies {
  /** To be called for each request before its body is read. */
  watch(request: IncomingMessage): void
}

/**
 * Over the budget the connection goes whose body has been coming for longest: a whole review of the API server comes within milliseconds.
 * @param budget of all unfinished bodies together; bytes, or characters where the body is decoded as it comes
 * @param onCut told of each connection that is cut
 */
export const createHeldBodies = (budget: number, onCut: () => void): HeldBodies => {
  /** By request, the oldest first. */
  const held = new Map<IncomingMessage, number>()
  let total = 0

  const forget = (request: IncomingMessage): void => {
    total -= held.get(request) ?? 0
    held.delete(request)
  }

  const cutBeyondBudget = (): void => {
    for (const oldest of held.keys()) {
      if (total <= budget) return
      forget(oldest)
      onCut()
      oldest.destroy()
    }
  }

  return {
    watch: (request) => {
      // Node ends a body where its Content-Length says.
      if (Number(request.headers['content-length']) <= SMALL) return
      let size = 0
      request.on('data', (chunk: Buffer | string) => {
        size += chunk.length
        if (size <= SMALL) return
        const before = held.get(request)
        if (before === undefined) {
          request.once('end', () => forget(request))
          request.once('close', () => forget(request))
        }
        total += size - (before ?? 0)
        held.set(request, size)
        cutBeyondBudget()
      })
    },
  }
}

/** What to do at each cut: a warning, now and then. @param now milliseconds that only ever go forward */
export const warnOfCuts = (logger: Pick<Logger, 'warn'>, now: () => number): (() => void) => {
  let toldAt = Number.NEGATIVE_INFINITY
  return () => {
    if (now() - toldAt < TOLD_MS) return
    toldAt = now()
    logger.warn('too much of unfinished requests is held: connections that have been sending for longest are cut; let only the API server reach this port')
  }
}
