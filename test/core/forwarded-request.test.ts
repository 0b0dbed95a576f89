import fc from 'fast-check'
import { test } from 'tap'
import { readForwarded, readHost, readUri, type Headers } from '../../src/core/forwarded-request.ts'

const GOOD: Record<string, { uri: string; path: string; query?: string }> = {
  'a path': { uri: '/workspaces/ns/app/lab', path: '/workspaces/ns/app/lab' },
  'the root': { uri: '/', path: '/' },
  'a slash at the end stays': { uri: '/workspaces/ns/app/', path: '/workspaces/ns/app/' },
  'a query is no part of it': { uri: '/workspaces/ns/app?reset', path: '/workspaces/ns/app', query: 'reset' },
  'what looks like a path in a query is none': { uri: '/a?next=/../b//c%2f%00', path: '/a', query: 'next=/../b//c%2f%00' },
  'a second question mark belongs to the query': { uri: '/a?b?c', path: '/a', query: 'b?c' },
  'letters beyond ASCII in a query are left alone': { uri: '/a?n=é', path: '/a', query: 'n=é' },
  'a fragment after a query': { uri: '/a?b#c', path: '/a', query: 'b' },
  'an escape is decoded': { uri: '/workspaces/ns/%61pp', path: '/workspaces/ns/app' },
  'a space and other letters': { uri: '/a/my%20notes%20%C3%A9.ipynb', path: '/a/my notes é.ipynb' },
  'a percent sign of its own': { uri: '/a/100%25', path: '/a/100%' },
  'dots that are no dot segment': { uri: '/a/.hidden/..b/c../...', path: '/a/.hidden/..b/c../...' },
  'an encoded dot inside a name': { uri: '/a/b%2eipynb', path: '/a/b.ipynb' },
  'characters that browsers leave as they are': { uri: "/a/b;c=d,e|f^g[h]'(i)*!~@:&+$", path: "/a/b;c=d,e|f^g[h]'(i)*!~@:&+$" },
  'an encoded question mark is a part of the path': { uri: '/a/b%3fc%23d', path: '/a/b?c#d' },
}
await test('URIs that are read', (t) => {
  for (const [sentence, { uri, path, query = '' }] of Object.entries(GOOD)) t.strictSame(readUri(uri), { ok: true, path, query }, sentence)
  t.strictSame(readUri(`/${'a'.repeat(20_000)}`), { ok: true, path: `/${'a'.repeat(20_000)}`, query: '' }, 'a very long one')
  t.end()
})

const NO_SLASH = 'it must begin with a slash'
const EMPTY = 'the path holds an empty segment'
const DOTS = 'the path holds a dot segment'
const ENCODED = 'the path holds an encoded slash or backslash'
const RAW = 'the path holds a character that must be percent-encoded'
const ESCAPE = 'the path holds an invalid percent escape'
const TWICE = 'the path is encoded twice'
const CONTROL = 'the path holds a control character'
const RAW_QUERY = 'the query holds a space or a control character'

const BAD: Record<string, { uri: string; why: string }> = {
  'no path': { uri: 'workspaces/ns/app', why: NO_SLASH },
  'a URL': { uri: 'https://evil.test/workspaces/ns/app', why: NO_SLASH },
  'no URL either': { uri: '://invalid-url', why: NO_SLASH },
  'a query alone': { uri: '?token=x', why: NO_SLASH },
  'another host': { uri: '//evil.test/workspaces', why: EMPTY },
  'an empty segment': { uri: '/workspaces//app', why: EMPTY },
  'an empty segment at the end': { uri: '/workspaces/ns/app//', why: EMPTY },
  'only slashes': { uri: '//', why: EMPTY },
  'up one': { uri: '/workspaces/ns/own/../other', why: DOTS },
  'up one at the end': { uri: '/workspaces/ns/own/..', why: DOTS },
  'up one before a query': { uri: '/workspaces/ns/own/..?a', why: DOTS },
  'up one at the start': { uri: '/../a', why: DOTS },
  'here': { uri: '/workspaces/./ns', why: DOTS },
  'here at the end': { uri: '/workspaces/.', why: DOTS },
  'up one with parameters': { uri: '/workspaces/own/..;x/other', why: DOTS },
  'up one, encoded': { uri: '/workspaces/own/%2e%2e/other', why: DOTS },
  'up one, half encoded': { uri: '/workspaces/own/.%2E/other', why: DOTS },
  'up one, encoded, at the end': { uri: '/workspaces/own/%2e%2e', why: DOTS },
  'up one with an encoded parameter': { uri: '/workspaces/own/..%3bx/other', why: DOTS },
  'up one, encoded twice': { uri: '/workspaces/own/%252e%252e/other', why: TWICE },
  'up one with a parameter encoded twice': { uri: '/workspaces/own/..%253bx/other', why: TWICE },
  'an encoded slash': { uri: '/workspaces/own%2f..%2fother', why: ENCODED },
  'an encoded slash in capitals': { uri: '/workspaces/own%2Fx', why: ENCODED },
  'an encoded slash, twice': { uri: '/workspaces/own%252fother', why: TWICE },
  'an encoded slash, three times': { uri: '/workspaces/own%25252Fother', why: TWICE },
  'an encoded backslash': { uri: '/workspaces/own%5c..%5cother', why: ENCODED },
  'an encoded backslash, twice': { uri: '/workspaces/own%255cother', why: TWICE },
  'a backslash': { uri: '/workspaces\\ns', why: RAW },
  'a fragment': { uri: '/workspaces/ns/own#/../other', why: 'the path holds a fragment' },
  'a space': { uri: '/workspaces/a b', why: RAW },
  'a tab': { uri: '/workspaces/a\tb', why: RAW },
  'a letter beyond ASCII': { uri: '/workspaces/é', why: RAW },
  'zero': { uri: '/workspaces/a%00b', why: CONTROL },
  'zero, twice': { uri: '/workspaces/a%2500b', why: TWICE },
  'a line end': { uri: '/workspaces/a%0d%0ab', why: CONTROL },
  'delete': { uri: '/workspaces/a%7fb', why: CONTROL },
  'a control character beyond ASCII': { uri: '/workspaces/a%c2%85b', why: CONTROL },
  'half an escape': { uri: '/workspaces/a%2', why: ESCAPE },
  'no escape': { uri: '/workspaces/a%zz', why: ESCAPE },
  'a slash in overlong UTF-8': { uri: '/workspaces/a%c0%afb', why: ESCAPE },
  'bytes that are no UTF-8': { uri: '/workspaces/a%ff', why: ESCAPE },
  'a tab in a query': { uri: '/a?b\tc', why: RAW_QUERY },
  'two values of a header that was sent twice': { uri: '/workspaces/own/app?x, /workspaces/other/app', why: RAW_QUERY },
}
await test('URIs that are refused', (t) => {
  for (const [sentence, { uri, why }] of Object.entries(BAD)) t.strictSame(readUri(uri), { ok: false, code: 400, body: `Invalid forwarded URI: ${why}` }, sentence)
  t.end()
})

await test('hosts', (t) => {
  const hosts: Record<string, string | undefined> = {
    'ws.example.com': 'ws.example.com',
    'WS.Example.COM': 'ws.example.com',
    'ws.example.com:8443': 'ws.example.com:8443',
    'localhost': 'localhost',
    '10.0.0.1:80': '10.0.0.1:80',
    '[::1]:8080': '[::1]:8080',
    'my_host.internal': 'my_host.internal',
    'ws.example.com:0': undefined,
    'ws.example.com:70000': undefined,
    'ws.example.com:': undefined,
    'ws.example.com.': undefined,
    'ws..example.com': undefined,
    '-ws.example.com': undefined,
    'user@ws.example.com': undefined,
    'ws.example.com/path': undefined,
    'https://ws.example.com': undefined,
    'ws.example.com, evil.test': undefined,
    'ws.example.com evil.test': undefined,
    'wš.example.com': undefined,
    '::1': undefined,
    '': undefined,
    [`${'a.'.repeat(130)}com`]: undefined,
  }
  for (const [given, expected] of Object.entries(hosts)) t.equal(readHost(given), expected, given)
  t.end()
})

const uri = '/workspaces/ns/app'
const host = 'ws.example.com'
const REQUESTS: Record<string, { headers: Headers; requireHttps?: boolean; expected: object }> = {
  'URI and host are enough': { headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': host }, expected: { ok: true, request: { path: uri, query: '', host } } },
  'everything': {
    headers: { 'x-forwarded-uri': `${uri}?a=b`, 'x-forwarded-host': 'WS.example.com:8443', 'x-forwarded-proto': 'HTTPS', 'x-forwarded-method': 'post' },
    expected: { ok: true, request: { path: uri, query: 'a=b', host: 'ws.example.com:8443', proto: 'https', method: 'POST' } },
  },
  'a WebSocket': { headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': host, 'x-forwarded-proto': 'wss' }, expected: { ok: true, request: { path: uri, query: '', host, proto: 'https' } } },
  'nothing': { headers: {}, expected: { ok: false, code: 400, body: 'Missing X-Forwarded-Uri header' } },
  'an empty URI': { headers: { 'x-forwarded-uri': '', 'x-forwarded-host': host }, expected: { ok: false, code: 400, body: 'Missing X-Forwarded-Uri header' } },
  'no host': { headers: { 'x-forwarded-uri': uri }, expected: { ok: false, code: 400, body: 'Missing X-Forwarded-Host header' } },
  'an empty host': { headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': '' }, expected: { ok: false, code: 400, body: 'Missing X-Forwarded-Host header' } },
  'two hosts': { headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': `${host}, ${host}` }, expected: { ok: false, code: 400, body: 'Invalid X-Forwarded-Host header' } },
  'two hosts as a list': { headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': [host, host] }, expected: { ok: false, code: 400, body: 'Invalid X-Forwarded-Host header' } },
  'two protocols': { headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': host, 'x-forwarded-proto': 'https, http' }, expected: { ok: false, code: 400, body: 'Invalid X-Forwarded-Proto header' } },
  'two methods': { headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': host, 'x-forwarded-method': 'GET, POST' }, expected: { ok: false, code: 400, body: 'Invalid X-Forwarded-Method header' } },
  'two URIs': { headers: { 'x-forwarded-uri': `${uri}, /other`, 'x-forwarded-host': host }, expected: { ok: false, code: 400, body: `Invalid forwarded URI: ${RAW}` } },
  'plain http where cookies are secure': {
    headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': host, 'x-forwarded-proto': 'http' },
    expected: { ok: false, code: 400, body: 'X-Forwarded-Proto must be https: browsers send session cookies over https alone' },
  },
  'plain http where they are not': {
    headers: { 'x-forwarded-uri': uri, 'x-forwarded-host': host, 'x-forwarded-proto': 'http' },
    requireHttps: false,
    expected: { ok: true, request: { path: uri, query: '', host, proto: 'http' } },
  },
}
await test('whole requests', (t) => {
  for (const [sentence, { headers, requireHttps = true, expected }] of Object.entries(REQUESTS)) t.strictSame(readForwarded(headers, { requireHttps }), expected, sentence)
  t.end()
})

/** Pieces that make a path interesting, in any order. */
const trickyUri = fc.array(fc.constantFrom('/', '//', '..', '.', '%2e', '%2E%2e', '%2f', '%252f', '%5c', '\\', '%00', 'a', 'ns', 'own', '-secret', ';x', '%3b', '%253b', '?', '#', '%', '%25', 'é', '%C3%A9', '%ff', '...', ' '), { maxLength: 14 })

const decodedBytes = (text: string): string => text.replace(/%([0-9a-f]{2})/gi, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

await test('whatever is read is the path that every other reader would see', (t) => {
  fc.assert(
    fc.property(trickyUri, (pieces) => {
      const text = `/${pieces.join('')}`
      const read = readUri(text)
      if (!read.ok) return
      const url = new URL(text, 'http://origin.invalid')
      if (url.host !== 'origin.invalid') throw new Error(`another host: ${text}`)
      if (decodeURIComponent(url.pathname) !== read.path) throw new Error(`${text} is ${url.pathname} elsewhere`)
      for (let seen = read.path, turn = 0; turn < 3; turn += 1, seen = decodedBytes(seen)) {
        if (/(?:^|\/)\.\.?(?:;|\/|$)|\/\/|\\/.test(seen)) throw new Error(`${text} is ${seen} to a server that decodes again`)
      }
    }),
    { numRuns: 5_000 },
  )
  t.end()
})
