import fc from 'fast-check'
import { test } from 'tap'
import { MAX_RETURN_PATH, readReturnPath, returnParameter, withoutOwnOrigin } from '../../../src/auth/oidc/return-path.ts'

await test('paths of the same host', async (t) => {
  const table: Record<string, { location?: string; path?: string; query?: string }> = {
    '/': {},
    '/workspaces/team-a/lab': {},
    '/workspaces/team-a/lab/': {},
    '/workspaces/team-a/lab?reset=1&x=/y': { path: '/workspaces/team-a/lab', query: 'reset=1&x=/y' },
    '/workspaces/team-a/lab?next=https://evil.test': { path: '/workspaces/team-a/lab', query: 'next=https://evil.test' },
    '/workspaces/team-a/lab#part': { location: '/workspaces/team-a/lab', path: '/workspaces/team-a/lab' },
    '/workspaces/team-a/lab/my%20book.ipynb': { path: '/workspaces/team-a/lab/my book.ipynb' },
    '/workspaces/team-a/lab/b%C3%BCcher': { path: '/workspaces/team-a/lab/bücher' },
    '/lab?name=bücher': { location: '/lab?name=b%C3%BCcher', path: '/lab', query: 'name=bücher' },
    '/@evil.test': {},
    '/https:/evil.test': {},
  }
  for (const [text, { location = text, path = text, query = '' }] of Object.entries(table)) t.strictSame(readReturnPath(text), { ok: true, to: { location, path, query } }, text)
})

await test('everything else is refused', async (t) => {
  const bad = [
    '',
    'workspaces/team-a/lab',
    'https://evil.test/',
    'https:evil.test',
    '//evil.test',
    '///evil.test',
    '/\\evil.test',
    '\\\\evil.test',
    '\\/evil.test',
    '/\t/evil.test',
    '/\n/evil.test',
    '\t//evil.test',
    ' //evil.test',
    '/%2fevil.test',
    '/%2Fevil.test',
    '/%5cevil.test',
    '/%5C%5Cevil.test',
    '/%252fevil.test',
    '/..//evil.test',
    '/./evil.test',
    '/%2e%2e//evil.test',
    '/.%2e/x',
    '/a/../../b',
    '/a//b',
    '/a;/..;/b',
    'javascript:alert(1)',
    'data:text/html,x',
    '?rd=/x',
    '#x',
    '/a\r\nset-cookie: x=y',
    '/a?x=\r\nset-cookie: x=y',
    '/a?x= y',
    '/bücher',
    '/%',
    '/%ff',
    '/%00',
    `/${'a'.repeat(MAX_RETURN_PATH)}`,
    `/a?${'ü'.repeat(MAX_RETURN_PATH / 2)}`,
  ]
  for (const text of bad) t.match(readReturnPath(text), { ok: false, body: /^The path to return to \(rd\) cannot be used: / }, JSON.stringify(text))
  for (const text of bad.filter((one) => one.length > 8)) {
    const reading = readReturnPath(text)
    t.notOk(!reading.ok && reading.body.includes(text), 'what was sent is not said again')
  }
})

/** Pieces of which attacks are made. */
const PIECES = ['/', '\\', '//', '..', '.', '%2f', '%5c', '%2e', '%25', '@', ':', ';', '?', '#', '&', '=', '\t', '\n', '\r', ' ', '\u0000', '\ufeff', 'evil.test', 'https:', 'javascript:', 'a', '[', ']', '\u2215', '\uff0f', '\u3002']

await test('the return path never leaves the origin, however a browser reads it', async (t) => {
  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.array(fc.constantFrom(...PIECES), { maxLength: 12 }).map((pieces) => pieces.join('')))
  const bases = ['https://jupyter.test', 'https://jupyter.test/callback?code=x', 'http://127.0.0.1:8080/callback', 'https://x:8443/a/b/c/']
  let taken = 0
  fc.assert(
    fc.property(fc.oneof(text, text.map((rest) => `/${rest}`)), (given) => {
      const reading = readReturnPath(given)
      if (!reading.ok) return true
      taken += 1
      const { location } = reading.to
      for (const base of bases) if (new URL(location, base).origin !== new URL(base).origin) return false
      // Printable ASCII alone: nothing that a browser strips, and nothing that ends a header.
      return /^\/(?![/\\])[\x21-\x7e]*$/.test(location) && new URL(location, bases[0]).pathname + new URL(location, bases[0]).search === location
    }),
    { numRuns: 20_000 },
  )
  t.ok(taken > 500, `${taken} were taken`)
})

await test('where in the query the path is', async (t) => {
  const table: Record<string, { query: string; is: string | undefined }> = {
    'encoded, as it should be': { query: `rd=${encodeURIComponent('/a/b?x=1&y=2')}`, is: '/a/b?x=1&y=2' },
    'encoded, among others': { query: `z=1&rd=${encodeURIComponent('/a?x=1')}&y=2`, is: '/a?x=1' },
    'bare, as nginx writes it': { query: 'rd=/a/b?x=1&y=2', is: '/a/b?x=1&y=2' },
    'bare, with escapes that stay': { query: 'rd=/a/my%20book?x=%26', is: '/a/my%20book?x=%26' },
    'not there': { query: 'x=1', is: undefined },
    'empty': { query: 'rd=', is: '' },
  }
  for (const [name, { query, is }] of Object.entries(table)) t.equal(returnParameter(query), is, name)
})

await test('of a whole URL on this very origin the path is meant; every other one is refused', async (t) => {
  const own: Record<string, string> = {
    'https://jupyter.test:8443/workspaces/team-a/lab?a=1&b=%20': '/workspaces/team-a/lab?a=1&b=%20',
    'HTTPS://Jupyter.Test:8443/lab': '/lab',
    'https://jupyter.test:8443': '/',
    'https://jupyter.test:8443?a=1': '/?a=1',
  }
  for (const [text, location] of Object.entries(own)) t.match(readReturnPath(withoutOwnOrigin(text, 'https://jupyter.test:8443')), { ok: true, to: { location } }, text)
  t.match(readReturnPath(withoutOwnOrigin('https://jupyter.test:443/lab', 'https://jupyter.test')), { ok: true, to: { location: '/lab' } }, 'with the port of https')
  const others = [
    'https://jupyter.test/lab',
    'http://jupyter.test:8443/lab',
    'https://jupyter.test:8443@evil.test/lab',
    'https://jupyter.test:8443.evil.test/lab',
    'https://evil.test/https://jupyter.test:8443/lab',
    'https://jupyter.test:8443\\@evil.test/lab',
    'https://jupyter.test:8443//evil.test',
    'https://jupyter.test:8443/\\evil.test',
    'https://jupyter.test:8443/../x',
    'https:///jupyter.test:8443/lab',
    'https:jupyter.test:8443/lab',
    '//jupyter.test:8443/lab',
    ' https://jupyter.test:8443/lab',
    'javascript:https://jupyter.test:8443/lab',
  ]
  for (const text of others) t.equal(readReturnPath(withoutOwnOrigin(text, 'https://jupyter.test:8443')).ok, false, text)
})
