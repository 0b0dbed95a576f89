import fc from 'fast-check'
import { test } from 'tap'
import type { Workspace, WorkspaceAccessStrategy } from '../../src/api/workspace.ts'
import { renderConnectionUrl, withToken, type ConnectionUrl } from '../../src/core/url-template.ts'

const workspace: Workspace = {
  metadata: { name: 'myworkspace', namespace: 'default', uid: 'w-1', labels: { team: 'red' } },
  spec: { displayName: 'My <Workspace>/..', accessStrategy: { name: 'web' } },
}
const strategy: WorkspaceAccessStrategy = {
  metadata: { name: 'web', namespace: 'shared' },
  spec: { displayName: 'Web', createConnectionContext: { prefix: 'ws', evil: 'evil.example/x' } },
}

const PATH_MODE = 'https://example.com/workspaces/{{ .Workspace.Namespace }}/{{ .Workspace.Name }}/bearer-auth'
const HOST_MODE = 'https://{{ .Workspace.Name }}-{{ b32encode .Workspace.Namespace }}.example.com/bearer-auth'

const GOOD: Record<string, { template: string; url: ConnectionUrl }> = {
  'by path': { template: PATH_MODE, url: { url: 'https://example.com/workspaces/default/myworkspace/bearer-auth', host: 'example.com', path: '/workspaces/default/myworkspace/bearer-auth' } },
  'by host': { template: HOST_MODE, url: { url: 'https://myworkspace-mrswmylvnr2a.example.com/bearer-auth', host: 'myworkspace-mrswmylvnr2a.example.com', path: '/bearer-auth' } },
  'below localhost': { template: 'https://{{ .Workspace.Name }}.localhost:8443/x', url: { url: 'https://myworkspace.localhost:8443/x', host: 'myworkspace.localhost:8443', path: '/x' } },
  'piped': { template: 'https://{{ .Workspace.Namespace | b32encode }}.example.com/x', url: { url: 'https://mrswmylvnr2a.example.com/x', host: 'mrswmylvnr2a.example.com', path: '/x' } },
  'with a port': { template: 'https://example.com:8443/x', url: { url: 'https://example.com:8443/x', host: 'example.com:8443', path: '/x' } },
  'with a port after a value': { template: 'https://{{ .Workspace.Name }}.example.com:8443/x', url: { url: 'https://myworkspace.example.com:8443/x', host: 'myworkspace.example.com:8443', path: '/x' } },
  'with the port of https, which browsers leave out': { template: 'https://example.com:443/x', url: { url: 'https://example.com:443/x', host: 'example.com', path: '/x' } },
  'with a host in capitals': { template: 'https://Example.COM/x', url: { url: 'https://Example.COM/x', host: 'example.com', path: '/x' } },
  'an address of IPv6': { template: 'https://[::1]:8443/x', url: { url: 'https://[::1]:8443/x', host: '[::1]:8443', path: '/x' } },
  'without a path': { template: 'https://example.com', url: { url: 'https://example.com', host: 'example.com', path: '' } },
  'with a query': { template: 'https://example.com/x?ws={{ .Workspace.Name }}', url: { url: 'https://example.com/x?ws=myworkspace', host: 'example.com', path: '/x' } },
  'a name of the access strategy': { template: 'https://example.com/{{ .AccessStrategy.Namespace }}/{{ .AccessStrategy.Name }}', url: { url: 'https://example.com/shared/web', host: 'example.com', path: '/shared/web' } },
  'a field of the spec, and a key of a map': { template: 'https://example.com/{{ .AccessStrategy.Spec.DisplayName }}/{{ .AccessStrategy.Spec.CreateConnectionContext.prefix }}', url: { url: 'https://example.com/Web/ws', host: 'example.com', path: '/Web/ws' } },
  'by the long way of Go': { template: 'https://example.com/{{ .Workspace.ObjectMeta.Name }}', url: { url: 'https://example.com/myworkspace', host: 'example.com', path: '/myworkspace' } },
  'with a choice': { template: 'https://example.com/{{ if eq .Workspace.Labels.team "red" }}red{{ else }}blue{{ end }}', url: { url: 'https://example.com/red', host: 'example.com', path: '/red' } },
  'a line end, as a block of YAML has one': { template: 'https://example.com/x\n', url: { url: 'https://example.com/x', host: 'example.com', path: '/x' } },
}
for (const [name, { template, url }] of Object.entries(GOOD)) {
  await test(`an address is made: ${name}`, async (t) => t.strictSame(renderConnectionUrl(template, workspace, strategy), { ok: true, url }))
}

const BAD: Record<string, { template: string; problem: string }> = {
  'http': { template: 'http://example.com/x', problem: 'bearerAuthURLTemplate must begin with https://' },
  'no scheme': { template: '//example.com/x', problem: 'bearerAuthURLTemplate must begin with https://' },
  'a scheme from an object': { template: '{{ .AccessStrategy.Spec.DisplayName }}://example.com/x', problem: 'bearerAuthURLTemplate must begin with https://' },
  'a scheme by a function': { template: '{{ print "https://example.com/" }}', problem: 'bearerAuthURLTemplate must begin with https://' },
  'a host from an object': { template: 'https://{{ .Workspace.Name }}/x', problem: 'bearerAuthURLTemplate must write the domain itself: values may only stand before it, as in https://{{ .Workspace.Name }}.example.com' },
  'the end of a host from an object': { template: 'https://example.{{ .Workspace.Name }}/x', problem: 'bearerAuthURLTemplate must write the domain itself: values may only stand before it, as in https://{{ .Workspace.Name }}.example.com' },
  'a domain of an object, of which the template writes the last part alone': { template: 'https://{{ .Workspace.Name }}.com/x', problem: 'bearerAuthURLTemplate must write the domain itself: values may only stand before it, as in https://{{ .Workspace.Name }}.example.com' },
  'a value right after the domain': { template: 'https://example.com{{ .Workspace.Name }}/x', problem: 'bearerAuthURLTemplate must write the domain itself: values may only stand before it, as in https://{{ .Workspace.Name }}.example.com' },
  'a port from an object': { template: 'https://example.com:{{ .Workspace.Name }}/x', problem: 'bearerAuthURLTemplate makes no host name that is good' },
  'a user': { template: 'https://alice@example.com/x', problem: 'bearerAuthURLTemplate makes no host name that is good' },
  'a value that ends the host': { template: 'https://{{ .AccessStrategy.Spec.CreateConnectionContext.evil }}.example.com/x', problem: 'bearerAuthURLTemplate fills in a value that holds more than letters, digits, "-", "_", "." and "~"' },
  'a value with a segment of dots': { template: 'https://example.com/{{ .Workspace.Spec.DisplayName }}', problem: 'bearerAuthURLTemplate fills in a value that holds more than letters, digits, "-", "_", "." and "~"' },
  'dots for a segment': { template: 'https://example.com/a/../b', problem: 'bearerAuthURLTemplate makes a path with an empty segment, with dots for one, or with characters that need encoding' },
  'an empty segment': { template: 'https://example.com/a//b', problem: 'bearerAuthURLTemplate makes a path with an empty segment, with dots for one, or with characters that need encoding' },
  'an encoded slash': { template: 'https://example.com/a%2fb', problem: 'bearerAuthURLTemplate makes a path with an empty segment, with dots for one, or with characters that need encoding' },
  'a backslash': { template: 'https://example.com\\@evil.example/x', problem: 'bearerAuthURLTemplate makes a path with an empty segment, with dots for one, or with characters that need encoding' },
  'a fragment': { template: 'https://example.com/x#y', problem: 'bearerAuthURLTemplate makes a path with an empty segment, with dots for one, or with characters that need encoding' },
  'a fragment after a query': { template: 'https://example.com/x?a=b#y', problem: 'bearerAuthURLTemplate makes a query with characters that need encoding, or a fragment' },
  'a token of its own': { template: 'https://example.com/x?a=b&token=c', problem: 'bearerAuthURLTemplate must have no query parameter "token": it is added' },
  'a number that is an address': { template: 'https://0x7f000001/x', problem: 'bearerAuthURLTemplate makes an address that browsers read in another way than it is written' },
  'an empty host': { template: 'https:///x', problem: 'bearerAuthURLTemplate makes no host name that is good' },
  'a port that is none': { template: 'https://example.com:99999/x', problem: 'bearerAuthURLTemplate makes an address that browsers read in another way than it is written' },
  'too long': { template: `https://example.com/${'x'.repeat(5000)}`, problem: 'bearerAuthURLTemplate makes an address of more than 4096 characters' },
  'a value that is not there': { template: 'https://example.com/x?t={{ .Token }}', problem: 'bearerAuthURLTemplate, line 1: there is no value for .Token; ask for it with "if", "with" or "default" where it may be missing' },
  'work without end': {
    template: `https://example.com/{{ $x := list 1 }}${'{{ $x = list $x $x }}'.repeat(40)}{{ toJson $x }}`,
    problem: 'bearerAuthURLTemplate, line 1: the template may work on no more than 8388608 characters and items',
  },
  'a function that nobody knows': { template: 'https://example.com/{{ env "HOME" }}', problem: 'bearerAuthURLTemplate, line 1: the function "env" is not supported' },
  'no template': { template: 'https://example.com/{{ .Workspace', problem: 'bearerAuthURLTemplate, line 1: the "{{" has no closing "}}"' },
  'an empty one': { template: ' ', problem: 'bearerAuthURLTemplate must begin with https://' },
}
for (const [name, { template, problem }] of Object.entries(BAD)) {
  await test(`no address is made: ${name}`, async (t) => t.strictSame(renderConnectionUrl(template, workspace, strategy), { ok: false, problem }))
}

await test('the token is one more parameter of the query', async (t) => {
  t.equal(withToken('https://example.com/x', 'a.b.c'), 'https://example.com/x?token=a.b.c')
  t.equal(withToken('https://example.com/x?a=b', 'a.b.c'), 'https://example.com/x?a=b&token=a.b.c')
  t.equal(withToken('https://example.com/x?', 'a.b.c'), 'https://example.com/x?token=a.b.c')
  t.equal(withToken('https://example.com/x?a=b&', 'a.b.c'), 'https://example.com/x?a=b&token=a.b.c')
})

const hostile = fc.oneof(
  fc.constantFrom('evil.example', 'evil.example/', '@evil.example', '/../', '..', '.', '//', '\\', '#', '?', ':1', 'a b', '%2f', '\n', 'é', '', 'x.', '.x', '-', 'xn--a', '127.0.0.1'),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.stringMatching(/^[a-z0-9.-]{1,20}$/),
)

await test('whatever the values: scheme and domain are those of the template, and the path has its segments', async (t) => {
  let made = 0
  fc.assert(
    fc.property(hostile, hostile, fc.boolean(), (name, namespace, byHost) => {
      const reading = renderConnectionUrl(byHost ? HOST_MODE : PATH_MODE, { metadata: { name, namespace } }, strategy)
      if (!reading.ok) return true
      made += 1
      const url = new URL(withToken(reading.url.url, 'a.b.c'))
      const isOwnHost = byHost ? url.host.endsWith('.example.com') : url.host === 'example.com'
      const segments = url.pathname.split('/').length
      return url.protocol === 'https:' && url.username === '' && url.hash === '' && isOwnHost && url.host === reading.url.host && segments === (byHost ? 2 : 5) && url.search === '?token=a.b.c'
    }),
    { numRuns: 3000 },
  )
  t.ok(made > 100, `${made} addresses were made`)
})

await test('whatever the template: an address that is made is https, and is read as it is written', async (t) => {
  const piece = fc.constantFrom('https://', 'http://', 'example.com', '/', '//', '..', '?', '&', '#', '@', ':', '443', '\\', '%2e', ' ', '{{ .Workspace.Name }}', '{{ .Workspace.Spec.DisplayName }}', '{{ b32encode .Workspace.Namespace }}', '.', 'token=', 'a')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.boolean(), (pieces, begins) => {
      const reading = renderConnectionUrl(`${begins ? 'https://example.com' : ''}${pieces.join('')}`, workspace, strategy)
      if (!reading.ok) return true
      const url = new URL(reading.url.url)
      return url.protocol === 'https:' && url.host === reading.url.host && url.username === '' && url.password === '' && url.hash === '' && url.pathname === (reading.url.path || '/') && !url.searchParams.has('token')
    }),
    { numRuns: 5000 },
  )
  t.pass()
})
