/**
 * What checking a session cookie on Node costs at the very least: node:http, one HMAC by node:crypto, the claims. No framework, no
 * metrics, nothing is remembered. A program of its own; one argument: the file with its settings (JSON).
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'

interface Settings {
  port: number
  issuer: string
  audience: string
  /** In base64, by their ids. */
  keys: Record<string, string>
}

interface Claims {
  iss: string
  aud: string[]
  nbf: number
  exp: number
  Path: string
  Domain: string
  TokenType: string
}

const { port, issuer, audience, keys }: Settings = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
const secrets = new Map(Object.entries(keys).map(([kid, secret]) => [kid, Buffer.from(secret, 'base64')]))
const COOKIE = /(?:^|; *)workspace_auth=([^;]*)/

const isOpen = ({ cookie = '', 'x-forwarded-uri': uri, 'x-forwarded-host': host }: IncomingHttpHeaders): boolean => {
  const [head = '', payload = '', signature = ''] = COOKIE.exec(cookie)?.[1]?.split('.') ?? []
  const { alg, kid }: { alg: string; kid: string } = JSON.parse(Buffer.from(head, 'base64url').toString())
  const secret = secrets.get(kid)
  if (alg !== 'HS384' || secret === undefined || typeof uri !== 'string') return false
  const wanted = createHmac('sha384', secret).update(`${head}.${payload}`).digest()
  const got = Buffer.from(signature, 'base64url')
  if (got.length !== wanted.length || !timingSafeEqual(got, wanted)) return false
  const { iss, aud, nbf, exp, Path, Domain, TokenType }: Claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const now = Date.now() / 1000
  const isOurs = iss === issuer && aud.includes(audience) && nbf <= now && now < exp && TokenType === 'session'
  return isOurs && Domain === host && (uri === Path || uri.startsWith(`${Path}/`))
}

const server = createServer({ keepAliveTimeout: 120_000 }, ({ headers }, response) => {
  response.writeHead(isOpen(headers) ? 200 : 401, { 'content-length': 0 })
  response.end()
})
server.listen(port, '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
