import type { Socket } from 'node:net'

/** As much of a server over HTTP or HTTPS as is needed to know its connections. */
export interface Connectable {
  on(event: 'connection' | 'secureConnection', told: (socket: Socket) => void): unknown
}

/**
 * The connections of a server, for its end. What it closes by itself is not all: one on which no request ever came counts as if one were
 * under way, and one that is still in its handshake is not counted at all. The API server keeps the former: it opens a connection for
 * a call, and when another one is free sooner the new one is kept for later.
 */
export interface OpenConnections {
  /** Closes those on which nothing has been sent to us yet. Once a call has begun, be it by one byte, its connection stays. */
  closeUnused(): void
  /** Closes all, whatever is under way on them. */
  closeAll(): void
}

/** To be called before the server listens. */
export const watchConnections = (server: Connectable): OpenConnections => {
  // With TLS two for each connection: the one beneath counts the bytes of the handshake, the one above those of calls.
  const sockets = new Set<Socket>()
  const remember = (socket: Socket): void => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  }
  server.on('connection', remember)
  server.on('secureConnection', remember)
  return {
    closeUnused: () => {
      for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy()
    },
    closeAll: () => {
      for (const socket of sockets) socket.destroy()
    },
  }
}
