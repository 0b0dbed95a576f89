/** Connections on which tests send what they like. */
import type { Socket } from 'node:net'
import tls from 'node:tls'
import type { Test } from 'tap'
import type { CertificateMaterial } from '../../src/serving/certificate.ts'

export const HOST = '127.0.0.1'
export const NAME = 'serving.test.svc'

export interface Connection {
  socket: Socket
  /** All that came. */
  text: string
  closed: boolean
}

export const kept = (socket: Socket): Connection => {
  const connection = { socket, text: '', closed: false }
  socket.setEncoding('utf8').on('data', (piece: string) => (connection.text += piece))
  // A connection that is cut, and that is what is looked at: `closed`.
  socket.on('error', () => undefined)
  socket.on('close', () => (connection.closed = true))
  return connection
}

/** Resolves when the handshake is over, be it by a cut. Closed when the test ends. */
export const connectTls = (t: Pick<Test, 'teardown'>, port: number, { caBundle }: CertificateMaterial): Promise<Connection> => {
  const socket = tls.connect({ host: HOST, port, servername: NAME, ca: caBundle })
  t.teardown(() => socket.destroy())
  const connection = kept(socket)
  return new Promise((resolve) => {
    socket.once('secureConnect', () => resolve(connection))
    socket.once('close', () => resolve(connection))
  })
}
