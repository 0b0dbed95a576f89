import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { t, test } from 'tap'
import { applySamples } from '../../hack/sandbox/manifests.ts'
import { playConnectionStory } from '../../hack/sandbox/connection-story.ts'
import { startConnections } from '../../hack/sandbox/connections.ts'
import { AUTH_VARIABLES } from '../../src/auth/options.ts'
import { codeBlocks } from '../support/doc-blocks.ts'
import { ROOT } from '../support/dockerfile.ts'
import { manifestOf, parseManifests, readManifests, type Manifest } from '../support/manifests.ts'
import { privateSandbox } from '../support/private-sandbox.ts'

// Of its own: APIServices are of the whole cluster.
const { cluster } = await privateSandbox(t)
await applySamples(cluster)
const connections = await startConnections({ cluster, log: () => undefined, logLevel: 'silent' })
t.teardown(() => connections.stop())

/** The words of a command as a shell takes them; nothing that is quoted here holds a space. */
const words = (command: string): string[] => command.trim().replaceAll("'", '').split(' ')

await test('the commands of the documentation answer what it says', async (subtest) => {
  const text = (await codeBlocks('connections.md', 'The reviews', 'console')).join('')
  const pairs = [...text.matchAll(/^\$ kubectl (.+)\n(.+)$/gm)]
  subtest.equal(pairs.length, 2)
  for (const [, command = '', said] of pairs) {
    const { stdout } = await cluster.kubectl(words(command).map((word) => (word.startsWith('docs/') ? join(ROOT, word) : word)))
    subtest.equal(stdout.trim(), said, command)
  }
})

await test('the command of the documentation lets a group connect, and nobody before', async (subtest) => {
  const [command = ''] = await codeBlocks('connections.md', 'The reviews', 'sh')
  const allowed = async (): Promise<unknown> => {
    const review = { apiVersion: 'connection.workspace.jupyter.org/v1alpha1', kind: 'ConnectionAccessReview', spec: { workspaceName: 'shared-workspace', user: 'carol', groups: ['team-alice'] } }
    const { status, text } = await cluster.call('POST', '/apis/connection.workspace.jupyter.org/v1alpha1/namespaces/team-alice/connectionaccessreviews', review)
    subtest.equal(status, 201, text)
    return (JSON.parse(text) as { status: unknown }).status
  }
  subtest.strictSame(await allowed(), { allowed: false, notFound: false, reason: 'RBAC permission denied' })
  await cluster.kubectl(['delete', 'rolebinding', 'team-connects', '-n', 'team-alice'])
  await cluster.kubectl(words(command).slice(1))
  subtest.strictSame(await allowed(), { allowed: true, notFound: false, reason: 'Valid RBAC and the subject Workspace is public' })
  await cluster.kubectl(['delete', 'rolebinding', 'team-connects', '-n', 'team-alice'])
})

await test('the story comes out as told', async (subtest) => {
  const both = ['--clusterrole=access-gate-connect-workspaces', '--user=alice', '--user=bob']
  await cluster.kubectl(['create', 'rolebinding', 'both-connect', '-n', 'team-alice', ...both])
  subtest.strictSame(await playConnectionStory({ cluster, print: () => undefined, signal: AbortSignal.timeout(300_000) }, connections), [])
})

await test('every variable that the documentation or a manifest names is one', async (subtest) => {
  const known = new Set<string>(AUTH_VARIABLES)
  const files = ['docs/connections.md', 'docs/examples/nginx-forward-auth.conf', 'docs/examples/nginx-forward-auth-subdomains.conf', 'docs/examples/traefik-forward-auth.yaml', 'manifests/auth/500-config-auth.yaml']
  const named = (await Promise.all(files.map((file) => readFile(join(ROOT, file), 'utf8')))).flatMap((text) => [...text.matchAll(/\b(?:OIDC|JWT|ENABLE|COOKIE|ROUTING|TRUSTED)_[A-Z_]+\b/g)].map(([name]) => name))
  subtest.strictSame([...new Set(named)].filter((name) => !known.has(name)), [])
  subtest.ok(named.length > 10)
})

interface Route {
  match: string
  middlewares?: { name: string }[]
  services: { name: string; namespace?: string; port: number }[]
}

await test('the example for Traefik asks the shipped Service, and every route to a Workspace is guarded', async (subtest) => {
  const objects = parseManifests(await readFile(join(ROOT, 'docs/examples/traefik-forward-auth.yaml'), 'utf8'))
  const { metadata, spec } = manifestOf(await readManifests('auth'), 'Service', 'access-gate-auth') as Manifest & { spec: { ports: { port: number }[] } }
  subtest.equal(spec.ports[0]?.port, 80)
  const addresses = [...JSON.stringify(objects).matchAll(/"address":"http:\/\/([^/]+)(\/[a-z-]+)"/g)].map(([, host, path]) => [host, path])
  const host = `${metadata.name}.${metadata.namespace}.svc`
  subtest.strictSame(addresses, [[host, '/verify'], [host, '/bearer-auth']])
  const { routes } = manifestOf(objects, 'IngressRoute', 'workspaces')['spec'] as { routes: Route[] }
  const guarded = routes.map(({ services, middlewares = [] }) => [services[0]?.name, middlewares.map(({ name }) => name)])
  subtest.strictSame(guarded, [
    ['access-gate-auth', []],
    ['workspaces-router', ['workspace-bearer']],
    ['workspaces-router', ['workspace-login', 'workspace-session']],
  ])
})
