/** A browser's requests over one connection of HTTP/2. */
import { connect, constants, type ClientHttp2Session } from 'node:http2'
import type { Test } from 'tap'
import type { Reply } from '../extension/certificates.ts'

export interface Http2Visit {
  method?: string
  /** More than one: crumbs, as browsers split a Cookie header. */
  cookie?: string | readonly string[]
  /** Pseudo headers among them; undefined takes one away. */
  headers?: Readonly<Record<string, string | undefined>>
  body?: string | Buffer
}

export interface Http2Client {
  readonly session: ClientHttp2Session
  /** @returns code 0 for a request that was not answered but broken off */
  visit: (path: string, visit?: Http2Visit) => Promise<Pick<Reply, 'code' | 'headers' | 'body'>>
}

const { HTTP2_HEADER_AUTHORITY, HTTP2_HEADER_METHOD, HTTP2_HEADER_PATH, HTTP2_HEADER_STATUS } = constants

const isHeader = (entry: [string, string | string[] | undefined]): entry is [string, string | string[]] => entry[1] !== undefined

/** Does not look at the server's certificate; the connection ends with the test. @param host with the port, as browsers send it */
export const http2Client = async (t: Pick<Test, 'teardown'>, port: number, host: string): Promise<Http2Client> => {
  const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, servername: host.replace(/:\d+$/, '') })
  t.teardown(() => session.destroy())
  await new Promise<void>((resolve, reject) => session.once('connect', () => resolve()).once('error', reject))
  const visit: Http2Client['visit'] = (path, { method = 'GET', cookie, headers = {}, body } = {}) =>
    new Promise((resolve) => {
      const all = { [HTTP2_HEADER_AUTHORITY]: host, [HTTP2_HEADER_METHOD]: method, [HTTP2_HEADER_PATH]: path, cookie: typeof cookie === 'object' ? [...cookie] : cookie, ...headers }
      const stream = session.request(Object.fromEntries(Object.entries(all).filter(isHeader)))
      let code = 0
      let received: Reply['headers'] = {}
      let text = ''
      stream.setEncoding('utf8')
      stream.on('response', (answer) => {
        code = Number(answer[HTTP2_HEADER_STATUS])
        received = Object.fromEntries(Object.entries(answer).map(([name, value]) => [name, typeof value === 'number' ? String(value) : value]))
      })
      stream.on('data', (chunk: string) => (text += chunk))
      // "close" follows, and tells what had come by then.
      stream.on('error', () => undefined)
      stream.on('close', () => resolve({ code, headers: received, body: text }))
      stream.end(body)
    })
  return { session, visit }
}
