import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import { test } from 'tap'
import { freePort } from '../../../hack/control-plane/free-port.ts'
import { createIdTokens } from '../../../src/auth/oidc/id-tokens.ts'
import { issuerEndpoint } from '../../../src/auth/oidc/issuer.ts'
import { systemClock, systemTimers } from '../../../src/kube/timers.ts'
import { eventually } from '../../support/eventually.ts'
import { logLines } from '../../support/log-lines.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { CLIENT_ID, freeServer, issuerFor, metadataAt, sendJson, tokensOf } from './issuers.ts'

const HOUR_MS = 3_600_000
/** Enough for an answer, also on a busy machine: the last one is what the error tells of. */
const SOME_ANSWERS_MS = 2_000

const certificateFor127 = async (): Promise<{ cert: string; key: string }> => {
  const made = await generate([{ name: 'commonName', value: 'issuer' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - HOUR_MS),
    notAfterDate: new Date(Date.now() + HOUR_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] },
    ],
  })
  return { cert: made.cert, key: made.private }
}

await test('what the issuer says of itself and cannot be relied on ends the start at once', async (t) => {
  const server = await freeServer(t)
  const table: Record<string, { says: object; message: RegExp }> = {
    'another name': { says: { issuer: 'https://evil.test' }, message: /calls itself by another name; OIDC_ISSUER_URL must be that name/ },
    'its name with a slash after it': { says: { issuer: `${server.url}/` }, message: /calls itself ".*\/"; OIDC_ISSUER_URL must be that, to the letter/ },
    'keys over plain http at another host': { says: { jwks_uri: 'http://keys.test/jwks' }, message: /jwks_uri of the OIDC issuer must begin with https/ },
    'no keys': { says: { jwks_uri: undefined }, message: /jwks_uri of the OIDC issuer must be a URL, it is nothing/ },
    'keys in a file': { says: { jwks_uri: 'file:///etc/passwd' }, message: /jwks_uri of the OIDC issuer must begin with https/ },
    'shared keys alone': { says: { id_token_signing_alg_values_supported: ['none', 'HS256'] }, message: /no algorithm that can be trusted here/ },
    'algorithms that are no list': { says: { id_token_signing_alg_values_supported: 'RS256' }, message: /no algorithm that can be trusted here/ },
  }
  for (const [name, { says, message }] of Object.entries(table)) {
    server.answer = (_request, response) => sendJson(response, { ...metadataAt(server.url), ...says })
    await t.rejects(tokensOf(t, server.url), { code: 'CONFIG_INVALID', message }, name)
  }
})

await test('algorithms are those of the issuer that have no shared key, else RS256', async (t) => {
  const server = await freeServer(t)
  const table: Record<string, { says: string[] | undefined; is: string[] }> = {
    'it says none': { says: undefined, is: ['RS256'] },
    'it says some': { says: ['none', 'HS256', 'ES256', 'RS256'], is: ['ES256', 'RS256'] },
  }
  for (const [name, { says, is }] of Object.entries(table)) {
    server.answer = (request, response) => sendJson(response, request.url === '/jwks' ? { keys: [] } : { ...metadataAt(server.url), id_token_signing_alg_values_supported: says })
    t.strictSame((await tokensOf(t, server.url)).idTokens.issuer.algorithms, is, name)
  }
})

await test('settings that cannot be right are refused before anybody is asked', async (t) => {
  const table: Record<string, { url?: string; more?: Parameters<typeof tokensOf>[2]; message: RegExp }> = {
    'no URL': { url: 'issuer', message: /OIDC_ISSUER_URL must be a URL, it is "issuer"/ },
    'plain http': { url: 'http://issuer.test', message: /OIDC_ISSUER_URL must begin with https/ },
    'plain http, of a host that looks like loopback': { url: 'http://127.0.0.1.evil.test', message: /must begin with https/ },
    'plain http on loopback, without the option': { url: 'http://127.0.0.1:1', more: { allowHttpLoopback: false }, message: /plain http has to be allowed on purpose/ },
    'a query': { url: 'https://issuer.test/?tenant=a', message: /OIDC_ISSUER_URL must hold no query/ },
    'a password': { url: 'https://user:hunter2@issuer.test', message: /must hold neither a name, a password nor a fragment$/ },
    'no client': { more: { clientId: '' }, message: /OIDC_CLIENT_ID must not be empty/ },
    'a prefix of Kubernetes itself': { more: { groupsPrefix: 'system:' }, message: /OIDC_GROUPS_PREFIX must not begin with "system:"/ },
    'a CA file that is not there': { more: { caFile: '/nowhere/ca.pem' }, message: /CA file of the OIDC issuer cannot be read/ },
    'a CA file without certificates': { more: { caFile: new URL(import.meta.url).pathname }, message: /CA file of the OIDC issuer holds no certificates/ },
  }
  for (const [name, { url = 'https://issuer.invalid', more = {}, message }] of Object.entries(table)) await t.rejects(tokensOf(t, url, more), { code: 'CONFIG_INVALID', message }, name)
})

await test('which addresses are taken', async (t) => {
  for (const url of ['https://issuer.test', 'http://localhost:1', 'http://127.1.2.3', 'http://[::1]:8', 'http://issuer.localhost']) t.equal(issuerEndpoint('it', url, true).href, new URL(url).href)
  for (const url of ['http://10.0.0.1', 'http://localhost.evil.test', 'http://[::2]', 'ftp://localhost', 'https://issuer.test/#x', 7, undefined]) t.throws(() => issuerEndpoint('it', url, true), { code: 'CONFIG_INVALID' }, String(url))
})

await test('an issuer that is away at the start is waited for, and no longer than it may take', async (t) => {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const log = logLines()
  const options = { issuerUrl: url, clientId: CLIENT_ID, usernamePrefix: '', groupsPrefix: '', addAuthenticatedGroup: false, allowHttpLoopback: true }
  const deps = { clock: systemClock, timers: systemTimers, logger: log.log, signal: new AbortController().signal }
  await t.rejects(createIdTokens({ ...options, initTimeoutMs: SOME_ANSWERS_MS }, deps), { code: 'CONFIG_INVALID', message: /was not there within 2 s \(.*ECONNREFUSED.*\); look at OIDC_ISSUER_URL/ })
  const waiting = createIdTokens({ ...options, initTimeoutMs: 20_000 }, deps)
  const before = log.lines.length
  await eventually('it was asked in vain', () => (log.lines.length > before ? true : undefined))
  await issuerFor(t, { port })
  t.equal((await waiting).ready, true)
})

await test('an issuer that hangs at the start is given up in time', async (t) => {
  const server = await freeServer(t)
  server.answer = () => {}
  await t.rejects(tokensOf(t, server.url, { initTimeoutMs: 300 }), { code: 'CONFIG_INVALID', message: /was not there within 0.3 s \(it did not answer\)/ })
})

await test('an issuer without its keys is not there yet', async (t) => {
  const server = await freeServer(t)
  server.answer = (request, response) => (request.url === '/jwks' ? response.writeHead(500).end() : sendJson(response, metadataAt(server.url)))
  await t.rejects(tokensOf(t, server.url, { initTimeoutMs: SOME_ANSWERS_MS }), { code: 'CONFIG_INVALID', message: /keys of the OIDC issuer cannot be had: the issuer answered 500/ })
})

await test('a stop ends the wait', async (t) => {
  const server = await freeServer(t)
  const end = new AbortController()
  const options = { issuerUrl: server.url, clientId: CLIENT_ID, usernamePrefix: '', groupsPrefix: '', addAuthenticatedGroup: false, allowHttpLoopback: true, initTimeoutMs: 600_000 }
  const waiting = createIdTokens(options, { clock: systemClock, timers: systemTimers, logger: logLines().log, signal: end.signal })
  await eventually('it was asked', () => (server.asked.length > 0 ? true : undefined))
  end.abort()
  await t.rejects(waiting, { name: 'AbortError' })
})

await test('an issuer at https is trusted by the CA file, which is read again when it changes', async (t) => {
  const [own, other] = await Promise.all([certificateFor127(), certificateFor127()])
  const caFile = join(await temporaryFolder(t), 'ca.pem')
  const issuer = await issuerFor(t, { tls: own })
  await writeFile(caFile, other.cert)
  await t.rejects(tokensOf(t, issuer.url, { caFile, initTimeoutMs: SOME_ANSWERS_MS }), { code: 'CONFIG_INVALID', message: /certificate/ })
  await writeFile(caFile, own.cert)
  const { idTokens } = await tokensOf(t, issuer.url, { caFile, allowHttpLoopback: false, keyTimes: { maxAgeMs: 0, pauseMs: 0 } })
  const token = await issuer.idToken('alice')
  t.match(await idTokens.verify(token), { ok: true })
  await writeFile(caFile, other.cert)
  t.match(await idTokens.verify(token), { ok: false, kind: 'unavailable' })
  await writeFile(caFile, own.cert)
  t.match(await idTokens.verify(token), { ok: true })
})
