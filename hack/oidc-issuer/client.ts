/** Who asks the token endpoint: the one client, by its secret when it has one. */
import { timingSafeEqual } from 'node:crypto'

export interface Client {
  clientId: string
  /** Left out: a public client, which proves by PKCE alone that the code is its own. */
  clientSecret?: string
}

const sameText = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

const decode = (text: string): string => new URLSearchParams(`v=${text}`).get('v') ?? ''

/** RFC 6749, 2.3.1: both parts are form-encoded before they are joined. */
const fromBasic = (header: string): { id: string; secret: string } | undefined => {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(header)?.[1]
  if (encoded === undefined) return undefined
  const [id, secret, ...rest] = Buffer.from(encoded, 'base64').toString('utf8').split(':')
  if (id === undefined || secret === undefined || rest.length > 0) return undefined
  return { id: decode(id), secret: decode(secret) }
}

/** Whether the request is the client's: its id and secret in the header or in the form, never in both. */
export const isClient = ({ clientId, clientSecret }: Client, authorization: string | undefined, form: URLSearchParams): boolean => {
  if (authorization !== undefined) {
    const given = fromBasic(authorization)
    if (given === undefined || clientSecret === undefined || form.has('client_secret')) return false
    return sameText(given.id, clientId) && sameText(given.secret, clientSecret)
  }
  if (form.get('client_id') !== clientId) return false
  const secret = form.get('client_secret')
  return clientSecret === undefined ? secret === null : secret !== null && sameText(secret, clientSecret)
}
