import { once } from 'node:events'
import type { AddressInfo, Server, Socket } from 'node:net'

/** Lets a server of a test listen on 127.0.0.1, until the test ends and each connection with it, an upgraded one too. @returns its port, a free one */
export const listenOnLoopback = async (t: { teardown(end: () => Promise<void>): void }, server: Server): Promise<number> => {
  const open = new Set<Socket>()
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    const closed = once(server, 'close')
    server.close()
    for (const socket of open) socket.destroy()
    await closed
  })
  return (server.address() as AddressInfo).port
}
