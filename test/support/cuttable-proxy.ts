/** A TCP proxy on 127.0.0.1 that can fail as networks do, in front of a real server. */
import net, { type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface CuttableProxy {
  readonly port: number
  /** Connections that were ever asked for. */
  readonly attempts: number
  /** Cuts every connection, and every new one, until mend. */
  cut: () => void
  /** Keeps every connection open and passes nothing on any more, also on new ones, until mend, which cuts the silent ones. */
  silence: () => void
  mend: () => void
}

export const cuttableProxy = async (t: Test, target: URL): Promise<CuttableProxy> => {
  const sockets = new Set<Socket>()
  let attempts = 0
  let mode: 'whole' | 'cut' | 'silent' = 'whole'
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
  }
  const server = net.createServer((socket) => {
    attempts += 1
    keep(socket)
    if (mode === 'cut') socket.destroy()
    if (mode !== 'whole') return
    const onward = net.connect(Number(target.port), target.hostname)
    keep(onward)
    socket.on('close', () => onward.destroy())
    onward.on('close', () => socket.destroy())
    socket.pipe(onward).pipe(socket)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const destroyAll = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(() => {
    server.close()
    destroyAll()
  })
  const { port } = server.address() as AddressInfo
  return {
    port,
    get attempts() {
      return attempts
    },
    cut: () => {
      mode = 'cut'
      destroyAll()
    },
    silence: () => {
      mode = 'silent'
      for (const socket of sockets) {
        socket.unpipe()
        socket.pause()
      }
    },
    mend: () => {
      mode = 'whole'
      destroyAll()
    },
  }
}
