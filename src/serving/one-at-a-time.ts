import type { IncomingMessage, ServerResponse } from 'node:http'

/**
 * One question at a time on each connection. Node begins every request that is sent on a connection, also when the one before
 * is not answered yet, and stops reading only when 64 KiB of answers are not taken; with answers that take their time that is no
 * bound at all. The API server never sends a request before it has the answer to the one before.
 */
export interface OneAtATime {
  /** Whether the request came before the answer to the one before it on this connection was given. To be asked once for each request. */
  isTooEarly(request: IncomingMessage, reply: ServerResponse): boolean
}

export const createOneAtATime = (): OneAtATime => {
  const replies = new WeakMap<object, ServerResponse>()
  return {
    isTooEarly: (request, reply) => {
      const before = replies.get(request.socket)
      replies.set(request.socket, reply)
      // Ended, not finished: a client may have the answer, and ask again, before this side hears that it was sent.
      return before !== undefined && !before.writableEnded
    },
  }
}
