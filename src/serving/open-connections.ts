import type { Socket } from 'node:net'

/** As much of a server over HTTP or HTTPS as is needed to know its connections. */
export interface Connectable {
  on(event: 'connection' | 'secureConnection', told: (socket: Socket) => void): unknown
}

/**
 * The connections of a server, for its bounds and its end. What it closes by itself is not all: one on which no request ever came counts as
 * if one were under way, and one that is still in its handshake is not counted at all. The API server keeps the former: see
 * unused-connections.ts.
 */
export interface OpenConnections {
  readonly count: number
  /** Closes those on which nothing has been sent to us yet. Once a call has begun, be it by one byte, its connection stays. */
  closeUnused(): void
  /** Closes the oldest of those. @param newest is not closed. @returns whether there was another one */
  closeOldestUnused(newest: Socket): boolean
  /** Closes all, whatever is under way on them. */
  closeAll(): void
}

const isUnused = (socket: Socket): boolean => socket.bytesRead === 0 && !socket.destroyed

/** To be called before the server listens. */
export const watchConnections = (server: Connectable): OpenConnections => {
  // With TLS two for each connection: the one beneath counts the bytes of the handshake, the one above those of calls.
  const sockets = new Set<Socket>()
  let count = 0
  const remember = (socket: Socket): void => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  }
  server.on('connection', (socket) => {
    remember(socket)
    count += 1
    socket.once('close', () => (count -= 1))
  })
  server.on('secureConnection', remember)
  return {
    get count() {
      return count
    },
    closeUnused: () => {
      for (const socket of sockets) if (isUnused(socket)) socket.destroy()
    },
    closeOldestUnused: (newest) => {
      for (const socket of sockets) {
        if (socket === newest || !isUnused(socket)) continue
        socket.destroy()
        return true
      }
      return false
    },
    closeAll: () => {
      for (const socket of sockets) socket.destroy()
    },
  }
}
