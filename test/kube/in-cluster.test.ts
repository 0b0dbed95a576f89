import { rm, writeFile } from 'node:fs/promises'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { createClient, type KubeClient } from '../../src/kube/client.ts'
import { inClusterConnection, type InClusterOptions } from '../../src/kube/in-cluster.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'
import { createMaterial, type CertificateMaterial } from '../../src/serving/certificate.ts'
import { fakeTime, type FakeTime } from '../support/fake-time.ts'

const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
const AWAY = 'a Pod has it there unless it turns off automountServiceAccountToken'
const HERE: InClusterOptions = { host: '10.0.0.1', port: '443' }

interface Refused {
  files: Record<string, string>
  given?: InClusterOptions
  /** With the folder as FOLDER. */
  says: string
}

const account = { token: 'abc', 'ca.crt': CERTIFICATE }

const refused: Record<string, Refused> = {
  'a folder without a token': { files: { 'ca.crt': CERTIFICATE }, says: `the token of the ServiceAccount cannot be read: FOLDER/token (ENOENT); ${AWAY}` },
  'a folder without certificates': { files: { token: 'abc' }, says: `the certificates of the API server cannot be read: FOLDER/ca.crt (ENOENT); ${AWAY}` },
  'an empty token': { files: { ...account, token: '\n' }, says: 'FOLDER/token holds no token of a ServiceAccount' },
  'a token that would break a header': { files: { ...account, token: 'abc\r\nX-Other: yes' }, says: 'FOLDER/token holds no token of a ServiceAccount' },
  'certificates that are none': { files: { ...account, 'ca.crt': 'abc' }, says: 'FOLDER/ca.crt holds no certificate' },
  'an environment without an address': {
    files: account,
    given: {},
    says: 'the environment does not say where the API server is: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be set, as in every Pod',
  },
  'an environment without a port': {
    files: account,
    given: { host: '10.0.0.1', port: '' },
    says: 'the environment does not say where the API server is: KUBERNETES_SERVICE_PORT must be set, as in every Pod',
  },
  'a port that is none': { files: account, given: { host: '10.0.0.1', port: 'tcp://10.0.0.1:443' }, says: 'KUBERNETES_SERVICE_PORT must be a port; got "tcp://10.0.0.1:443"' },
  'a port beyond all ports': { files: account, given: { host: '10.0.0.1', port: '65536' }, says: 'KUBERNETES_SERVICE_PORT must be a port; got "65536"' },
  'a host that is none': { files: account, given: { host: 'me@there/', port: '443' }, says: 'KUBERNETES_SERVICE_HOST must be a name or an address; got "me@there/"' },
}

for (const [what, { files, given = HERE, says }] of Object.entries(refused)) {
  await test(`${what} is refused with one sentence`, async (t) => {
    const serviceAccountDir = t.testdir(files)
    const message = says.replace('FOLDER', serviceAccountDir)
    await t.rejects(inClusterConnection({ ...given, serviceAccountDir }), { code: 'CONFIG_INVALID', message })
    await t.rejects(createClient({ userAgent: 'x', inCluster: { ...given, serviceAccountDir } }), { code: 'CONFIG_INVALID', message })
  })
}

const servers: Record<string, { given: InClusterOptions; server: string }> = {
  'an address': { given: { host: '10.0.0.1', port: '6443' }, server: 'https://10.0.0.1:6443/' },
  'a name': { given: { host: 'api.example.test', port: '443' }, server: 'https://api.example.test/' },
  'an IPv6 address, which stands in brackets': { given: { host: 'fd00::1', port: '443' }, server: 'https://[fd00::1]/' },
}

for (const [what, { given, server }] of Object.entries(servers)) {
  await test(`the API server is found by ${what}`, async (t) => {
    const connection = await inClusterConnection({ ...given, serviceAccountDir: t.testdir(account) })
    t.strictSame([connection.server.href, connection.dynamic], [server, true])
    t.strictSame(await connection.load(false), { headers: { Authorization: 'Bearer abc' }, tls: { ca: CERTIFICATE.trim() } })
  })
}

const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'ns' } }

interface World {
  kube: KubeClient
  time: FakeTime
  /** What each request said of itself. */
  seen: (string | undefined)[]
  /** Files of the account, as kubelet renews them. */
  write: (file: 'token' | 'ca.crt', text: string) => Promise<void>
  removeToken: () => Promise<void>
  /** From now on this token alone is known to the server. */
  accept: (token: string) => void
  /** The server goes on with another certificate, of another authority. */
  serve: (material: CertificateMaterial) => void
}

const REFRESH_MS = 10_000

/** A server that knows one token, and a client that has it from a folder. */
const inCluster = async (t: Test): Promise<World> => {
  const { caBundle, leaf } = await createMaterial(['localhost'], Date.now())
  const seen: World['seen'] = []
  let valid = 'first'
  const server = https.createServer(leaf, ({ headers }, response) => {
    seen.push(headers.authorization)
    const isKnown = headers.authorization === `Bearer ${valid}`
    response.writeHead(isKnown ? 200 : 401, { 'content-type': 'application/json' })
    response.end(JSON.stringify(isKnown ? configMap : { kind: 'Status', code: 401, reason: 'Unauthorized', message: 'Unauthorized' }))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const folder = t.testdir({ token: 'first\n', 'ca.crt': caBundle })
  const { port } = server.address() as AddressInfo
  const time = fakeTime()
  const kube = await createClient({ userAgent: 'access-gate-test', timers: time.timers, inCluster: { serviceAccountDir: folder, host: 'localhost', port: String(port) } })
  t.teardown(() => kube.close())
  return {
    kube,
    time,
    seen,
    write: (file, text) => writeFile(join(folder, file), text),
    removeToken: () => rm(join(folder, 'token')),
    accept: (token) => {
      valid = token
    },
    serve: (material) => {
      server.setSecureContext(material.leaf)
      server.closeAllConnections()
    },
  }
}

await test('a token that was renewed in its file is used once the old one is ten seconds old', async (t) => {
  const { kube, time, seen, write, accept } = await inCluster(t)
  await kube.get(CONFIG_MAPS, 'ns', 'a')
  await write('token', 'second')
  await kube.get(CONFIG_MAPS, 'ns', 'a')
  await time.advance(REFRESH_MS)
  accept('second')
  await kube.get(CONFIG_MAPS, 'ns', 'a')
  t.strictSame(seen, ['Bearer first', 'Bearer first', 'Bearer second'])
})

await test('after a 401 the token is read again at once, and the call succeeds', async (t) => {
  const { kube, seen, write, accept } = await inCluster(t)
  await kube.get(CONFIG_MAPS, 'ns', 'a')
  await write('token', 'second')
  accept('second')
  t.match(await kube.get(CONFIG_MAPS, 'ns', 'a'), configMap)
  t.strictSame(seen, ['Bearer first', 'Bearer first', 'Bearer second'])
})

await test('a 401 with the token that the file holds is told', async (t) => {
  const { kube, accept } = await inCluster(t)
  accept('another')
  await t.rejects(kube.get(CONFIG_MAPS, 'ns', 'a'), { code: 'KUBE_FORBIDDEN' })
})

await test('an API server with certificates of another authority is trusted once the file says so, and not before', async (t) => {
  const { kube, time, write, serve } = await inCluster(t)
  await kube.get(CONFIG_MAPS, 'ns', 'a')
  const next = await createMaterial(['localhost'], Date.now() + 1)
  serve(next)
  await t.rejects(kube.get(CONFIG_MAPS, 'ns', 'a'), { code: 'KUBE_UNAVAILABLE' })
  await write('ca.crt', next.caBundle)
  await time.advance(REFRESH_MS)
  t.match(await kube.get(CONFIG_MAPS, 'ns', 'a'), configMap)
})

await test('while the files are away, as kubelet writes them, what was read goes on', async (t) => {
  const { kube, time, removeToken, write, accept } = await inCluster(t)
  await kube.get(CONFIG_MAPS, 'ns', 'a')
  await removeToken()
  await time.advance(REFRESH_MS)
  t.match(await kube.get(CONFIG_MAPS, 'ns', 'a'), configMap)
  accept('second')
  await t.rejects(kube.get(CONFIG_MAPS, 'ns', 'a'), { code: 'KUBE_UNAVAILABLE', message: /^the token of the ServiceAccount cannot be read: .*\/token \(ENOENT\)/ })
  await write('token', 'second')
  await time.advance(REFRESH_MS)
  t.match(await kube.get(CONFIG_MAPS, 'ns', 'a'), configMap)
})
