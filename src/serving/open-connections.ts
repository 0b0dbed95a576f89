import type { Socket } from 'node:net'

/** As much of a server over HTTP or HTTPS as is needed to know its connections. */
export interface Connectable {
  on(event: 'connection' | 'secureConnection', told: (socket: Socket) => void): unknown
  on(event: 'request', told: (request: { readonly socket: Socket }) => void): unknown
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
  /** Closes the oldest that has not brought the headers of a call yet, in its handshake or after it. @param newest is not closed. @returns whether there was another one */
  closeOldestUnheard(newest: Socket): boolean
  /**
   * Closes those that have sent something and no headers of a call, though they had the time since a look before. Node itself sees only to
   * those that began one: empty lines begin none, and one after the other they keep a connection for ever.
   * @param now milliseconds on a clock that never goes back @param boundMs how long they may take from the first look on
   */
  closeStalled(now: number, boundMs: number): void
  /** Closes all, whatever is under way on them. */
  closeAll(): void
}

interface Unheard {
  /** Beneath TLS until the handshake is over, then above it. */
  socket: Socket
  isSecured: boolean
  /** When something was there first. */
  begunAt?: number
}

/** The other end of a connection: no two that are open have the same. */
const peerOf = ({ remoteAddress = '', remotePort = 0 }: Socket): string => `${remoteAddress} ${remotePort}`

/** To be called before the server listens. @param secure whether it speaks TLS */
export const watchConnections = (server: Connectable, secure = true): OpenConnections => {
  // With TLS two for each connection: the one beneath counts the bytes of the handshake, the one above those of calls.
  const sockets = new Set<Socket>()
  /** In the order in which they came. */
  const unheard = new Map<string, Unheard>()
  const heard = new WeakSet<Socket>()
  let count = 0
  const remember = (socket: Socket): void => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  }
  server.on('connection', (socket) => {
    remember(socket)
    const peer = peerOf(socket)
    const entry: Unheard = { socket, isSecured: !secure }
    count += 1
    unheard.set(peer, entry)
    socket.once('close', () => {
      count -= 1
      if (unheard.get(peer) === entry) unheard.delete(peer)
    })
  })
  server.on('secureConnection', (socket) => {
    remember(socket)
    const entry = unheard.get(peerOf(socket))
    if (entry !== undefined) Object.assign(entry, { socket, isSecured: true })
  })
  server.on('request', ({ socket }) => {
    if (heard.has(socket)) return
    heard.add(socket)
    unheard.delete(peerOf(socket))
  })
  return {
    get count() {
      return count
    },
    closeUnused: () => {
      for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy()
    },
    closeOldestUnheard: (newest) => {
      for (const [peer, { socket }] of unheard) {
        if (socket === newest) continue
        // At once: until it is gone, the next one would find it again.
        unheard.delete(peer)
        if (socket.destroyed) continue
        socket.destroy()
        return true
      }
      return false
    },
    closeStalled: (now, boundMs) => {
      for (const entry of unheard.values()) {
        if (!entry.isSecured || entry.socket.bytesRead === 0) continue
        entry.begunAt ??= now
        if (now - entry.begunAt >= boundMs) entry.socket.destroy()
      }
    },
    closeAll: () => {
      for (const socket of sockets) socket.destroy()
    },
  }
}
