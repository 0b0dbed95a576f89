/** Certificates of a front proxy and of others, and a server that judges them. */
import https from 'node:https'
import type { TLSSocket } from 'node:tls'
import { generate } from 'selfsigned'

const HOUR_MS = 3_600_000

export interface Authority {
  cert: string
  key: string
}

export interface ClientCertificate {
  /** With those between it and its CA. */
  cert: string
  key: string
}

const validity = (now: number, hours = 24): { keyType: 'ec'; algorithm: 'sha256'; notBeforeDate: Date; notAfterDate: Date } => ({
  keyType: 'ec',
  algorithm: 'sha256',
  notBeforeDate: new Date(now - HOUR_MS),
  notAfterDate: new Date(now + hours * HOUR_MS),
})

/** @param by the CA that signs it; left out: itself */
export const authority = async (name: string, by?: Authority): Promise<Authority> => {
  const made = await generate([{ name: 'commonName', value: name }], {
    ...validity(Date.now()),
    ...(by === undefined ? {} : { ca: by }),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, critical: true },
    ],
  })
  return { cert: made.cert, key: made.private }
}

export interface ClientShape {
  name: string
  organizations?: string[]
  /** Default: clientAuth. */
  usage?: 'clientAuth' | 'serverAuth' | 'none'
}

export const clientCertificate = async (by: Authority, { name, organizations = [], usage = 'clientAuth' }: ClientShape, between: readonly Authority[] = []): Promise<ClientCertificate> => {
  const subject = [...organizations.map((value) => ({ name: 'organizationName', value })), { name: 'commonName', value: name }]
  const made = await generate(subject, {
    ...validity(Date.now()),
    ca: by,
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      ...(usage === 'none' ? [] : [{ name: 'extKeyUsage' as const, [usage]: true }]),
    ],
  })
  return { cert: [made.cert, ...between.map(({ cert }) => cert)].join('\n'), key: made.private }
}

export interface Call {
  port: number
  path: string
  /** null: none is shown. */
  client?: ClientCertificate | null
  method?: string
  headers?: Record<string, string | string[]>
  body?: string
  agent?: https.Agent
}

export interface Reply {
  code: number
  body: string
  headers: Record<string, string | string[] | undefined>
  /** Of this side: two calls with the same went over one connection. */
  localPort: number | undefined
}

/** Does not look at the server's certificate. @throws whatever the connection throws */
export const call = ({ port, path, client, method = 'GET', headers = {}, body, agent }: Call): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const sent = https.request(
      { host: '127.0.0.1', port, path, method, headers, agent: agent ?? false, rejectUnauthorized: false, ...(client === undefined || client === null ? {} : { cert: client.cert, key: client.key }) },
      (reply) => {
        const localPort = (reply.socket as TLSSocket).localPort
        let text = ''
        reply.setEncoding('utf8')
        reply.on('data', (chunk: string) => {
          text += chunk
        })
        reply.on('error', reject)
        reply.on('end', () => resolve({ code: reply.statusCode ?? 0, body: text, headers: reply.headers, localPort }))
      },
    )
    sent.on('error', reject)
    // Node writes headers in the encoding of a body that is text.
    sent.end(body === undefined ? undefined : Buffer.from(body))
  })
