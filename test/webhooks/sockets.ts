/** Real TLS connections on 127.0.0.1. */
import https from 'node:https'
import net from 'node:net'
import tls, { type TLSSocket } from 'node:tls'

export interface Call {
  port: number
  path: string
  ca: string
  body?: string
  agent?: https.Agent
  cert?: string
  key?: string
  /** Left out: SERVER_NAME. */
  servername?: string
  headers?: Record<string, string>
}

export interface Reply {
  status: number
  body: string
  connection: string | undefined
  /** The Keep-Alive header. */
  keepAlive: string | undefined
  /** Serial number of the certificate that the server presented. */
  serial: string
}

/** The server is addressed as `webhook.test.svc`, whatever the port. */
export const SERVER_NAME = 'webhook.test.svc'

/** POST with a body, else GET. @throws whatever the connection throws */
export const call = ({ port, path, ca, body, agent, cert, key, servername = SERVER_NAME, headers = {} }: Call): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const sent = https.request(
      {
        host: '127.0.0.1',
        port,
        path,
        ca,
        servername,
        agent: agent ?? false,
        method: body === undefined ? 'GET' : 'POST',
        ...(cert === undefined ? {} : { cert, key }),
        headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }) },
      },
      (reply) => {
        const { serialNumber } = (reply.socket as TLSSocket).getPeerCertificate()
        let text = ''
        reply.setEncoding('utf8')
        reply.on('data', (chunk: string) => {
          text += chunk
        })
        reply.on('error', reject)
        reply.on('end', () =>
          resolve({
            status: reply.statusCode ?? 0,
            body: text,
            connection: reply.headers.connection,
            keepAlive: reply.headers['keep-alive']?.toString(),
            serial: serialNumber,
          }),
        )
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })

/** What a client that could speak HTTP/2 as well is offered. */
export const protocolAt = (port: number, ca: string): Promise<string | false | null> =>
  new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port, ca, servername: SERVER_NAME, ALPNProtocols: ['h2', 'http/1.1'] }, () => {
      resolve(socket.alpnProtocol)
      socket.destroy()
    })
    socket.on('error', reject)
  })

/** As a Service does: every new connection goes to a backend of this moment, an open one stays where it is. */
export interface Forwarder {
  port: number
  close(): Promise<void>
}

/** @param choose the port for a new connection; undefined refuses it */
export const startForwarder = async (choose: () => number | undefined): Promise<Forwarder> => {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((near) => {
    const target = choose()
    if (target === undefined) {
      near.resetAndDestroy()
      return
    }
    const far = net.connect(target, '127.0.0.1')
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('error', () => into.destroy())
      from.on('close', () => {
        sockets.delete(from)
        into.destroySoon()
      })
      from.pipe(into)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the forwarder has no port')
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}
