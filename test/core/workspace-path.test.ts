import fc from 'fast-check'
import { test } from 'tap'
import { compileLinear } from '../../src/core/linear-pattern.ts'
import { appPathOf, DEFAULT_PATTERNS, isWithin, workspacePlace, type WorkspaceRouting } from '../../src/core/workspace-path.ts'

const routing = (mode: 'path' | 'subdomain', changes: Partial<Record<'appPath' | 'namespace' | 'name', string>> = {}): WorkspaceRouting => {
  const { appPath, namespace, name } = { ...DEFAULT_PATTERNS[mode], ...changes }
  return { mode, appPath: compileLinear(appPath), namespace: compileLinear(namespace), name: compileLinear(name) }
}
const byPath = routing('path')
const bySubdomain = routing('subdomain')

await test('the path of the application', (t) => {
  const cases: Record<string, string> = {
    '/workspaces/ns1/app1': '/workspaces/ns1/app1',
    '/workspaces/ns1/app1/': '/workspaces/ns1/app1',
    '/workspaces/ns1/app1/lab/tree': '/workspaces/ns1/app1',
    '/': '/',
    '/ns1/app': '/ns1/app',
    '': '',
  }
  for (const [path, expected] of Object.entries(cases)) t.equal(appPathOf(byPath, path), expected, path)
  t.equal(appPathOf(bySubdomain, '/lab/tree'), '/', 'with subdomains all paths are the workspace')
  t.equal(appPathOf({ appPath: compileLinear('(?:)()') }, '/a/b'), '/a/b', 'a group that takes nothing')
  t.end()
})

const PLACES: Record<string, { routing?: WorkspaceRouting; path: string; host?: string; expected: [string, string, string] | undefined }> = {
  'the default': { path: '/workspaces/team-a/nb/lab', expected: ['team-a', 'nb', '/workspaces/team-a/nb'] },
  'a slash at the end': { path: '/workspaces/team-a/nb/', expected: ['team-a', 'nb', '/workspaces/team-a/nb'] },
  'patterns of one’s own': {
    routing: routing('path', { appPath: '^(/w/[^/]+/u/[^/]+)(?:/.*)?$', namespace: '^/w/([^/]+)/', name: '^/w/[^/]+/u/([^/]+)' }),
    path: '/w/team-a/u/nb/x',
    expected: ['team-a', 'nb', '/w/team-a/u/nb'],
  },
  'no name': { path: '/workspaces/myApp', expected: undefined },
  'no namespace': { path: '/workspaces//myApp', expected: undefined },
  'the root': { path: '/', expected: undefined },
  'a namespace that is no label': { path: '/workspaces/Team_A/nb', expected: undefined },
  'a name that is no label': { path: '/workspaces/team-a/nb.1', expected: undefined },
  'a name with a query in it': { path: '/workspaces/team-a/nb?x=1', expected: undefined },
  'a name that is too long': { path: `/workspaces/team-a/${'a'.repeat(64)}`, expected: undefined },
  'an application path that is that of several workspaces': { routing: routing('path', { appPath: '^(/workspaces/[^/]+)(?:/.*)?$' }), path: '/workspaces/team-a/nb', expected: undefined },
  'an application path that the request does not lie in': { routing: routing('path', { appPath: '^/workspaces(/[^/]+/[^/]+)' }), path: '/workspaces/team-a/nb', expected: undefined },
  'an application path that no cookie can carry': { routing: routing('path', { appPath: '^(.*)$' }), path: '/workspaces/team-a/nb/a;b', expected: undefined },
  'without a match the whole path': { routing: routing('path', { appPath: '^(/nowhere)$' }), path: '/workspaces/team-a/nb/lab', expected: ['team-a', 'nb', '/workspaces/team-a/nb/lab'] },
  'a subdomain': { routing: bySubdomain, path: '/lab', host: 'mrswmylvnr2a-myws.example.com', expected: ['default', 'myws', '/'] },
  'a subdomain with a port': { routing: bySubdomain, path: '/', host: 'mrswmylvnr2a-my-ws.example.com:8443', expected: ['default', 'my-ws', '/'] },
  'a subdomain the other way round': {
    routing: routing('subdomain', { namespace: '^.*-([^-]+)$', name: '^(.*)-[^-]+$' }),
    path: '/lab',
    host: 'myws-mrswmylvnr2a.example.com',
    expected: ['default', 'myws', '/'],
  },
  'a subdomain whose path is the application’s too': {
    routing: routing('subdomain', { appPath: '^(/apps/[^/]+)' }),
    path: '/apps/a/b',
    host: 'mrswmylvnr2a-myws.example.com',
    expected: ['default', 'myws', '/apps/a'],
  },
  'a subdomain without a dash': { routing: bySubdomain, path: '/lab', host: 'mrswmylvnr2a.example.com', expected: undefined },
  'a subdomain that is no base32': { routing: bySubdomain, path: '/lab', host: 'default1-myws.example.com', expected: undefined },
  'a subdomain with bits that mean nothing': { routing: bySubdomain, path: '/lab', host: 'mrswmylvnr2b-myws.example.com', expected: undefined },
  'a namespace that is none after decoding': { routing: bySubdomain, path: '/lab', host: 'mfrc4-myws.example.com', expected: undefined },
  'an address': { routing: bySubdomain, path: '/lab', host: '[::1]:8080', expected: undefined },
}
await test('which workspace a request is for', (t) => {
  for (const [sentence, { routing: by = byPath, path, host = 'ws.example.com', expected }] of Object.entries(PLACES)) {
    const [namespace, name, appPath] = expected ?? []
    t.strictSame(workspacePlace(by, { path, host }), expected === undefined ? undefined : { workspace: { namespace, name }, appPath }, sentence)
  }
  t.end()
})

await test('what lies within a path, by whole segments', (t) => {
  const own = '/workspaces/a/own'
  const cases: [path: string, base: string, within: boolean][] = [
    [own, own, true],
    [`${own}/`, own, true],
    [`${own}/lab`, own, true],
    ['/workspaces/a/own-secret', own, false],
    ['/workspaces/a/own-secret/x', own, false],
    ['/workspaces/a/ow', own, false],
    ['/workspaces/a', own, false],
    ['/workspaces/A/own', own, false],
    ['/', own, false],
    ['/anything', '/', true],
    ['/', '/', true],
    [`${own}/lab`, `${own}/`, true],
    [own, `${own}/`, false],
    [own, '', false],
    ['', '', false],
    [own, 'workspaces', false],
  ]
  for (const [path, base, within] of cases) t.equal(isWithin(path, base), within, `${path} in ${base}`)
  const segment = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.'), minLength: 1, maxLength: 3 })
  const path = fc.array(segment, { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(path, path, (of, base) => isWithin(`/${of.join('/')}`, `/${base.join('/')}`) === base.every((one, index) => of[index] === one)),
    { numRuns: 2_000 },
  )
  t.end()
})
