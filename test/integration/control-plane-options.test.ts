import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { freePort } from '../../hack/control-plane/free-port.ts'
import { resolveBinaries } from '../../hack/control-plane/resolve.ts'
import { startControlPlane, type ControlPlane, type ControlPlaneOptions } from '../../hack/control-plane/start.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { untilTrue } from '../support/eventually.ts'

const { binaries } = await resolveBinaries()

const start = async (t: Test, options: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> => {
  const controlPlane = await startControlPlane({ log: () => undefined, binaries, ...options })
  t.teardown(() => controlPlane.stop())
  return controlPlane
}

await test('a kept folder survives: same data, CA and tokens; it belongs to one control plane at a time', async (t) => {
  const dataDir = join(await temporaryFolder(t), 'kept')
  const first = await start(t, { dataDir })
  await first.kubectl(['create', 'namespace', 'survivor'])
  const token = await first.serviceAccountToken('default', 'default')
  await t.rejects(startControlPlane({ log: () => undefined, binaries, dataDir }), {
    name: 'ControlPlaneFailure',
    message: `${dataDir} is in use by a running control plane; stop that one, or choose another folder`,
  })
  await first.stop()
  const second = await start(t, { dataDir })
  t.equal(second.caPem, first.caPem)
  t.equal(second.description.adminToken, first.description.adminToken)
  t.equal((await second.kubectl(['get', 'namespace', 'survivor', '--output', 'name'])).stdout, 'namespace/survivor\n')
  const kubeconfig = await second.kubeconfigFor({ name: 'old-token', token })
  t.match(await second.kubectl(['auth', 'whoami'], { kubeconfig }), { stdout: /system:serviceaccount:default:default/ })
})

await test('it listens on the port that was asked for, logs who did what, and publishes the front proxy for aggregated API servers', async (t) => {
  const apiPort = await freePort()
  const auditLog = join(await temporaryFolder(t), 'audit.log')
  const controlPlane = await start(t, { apiPort, auditLog })
  t.equal(controlPlane.server, `https://127.0.0.1:${apiPort}`)

  await controlPlane.kubectl(['create', 'secret', 'generic', 'hidden', '--from-literal=key=very-secret-value'])
  const log = await readFile(auditLog, 'utf8')
  t.match(log, /"username":"admin"/)
  t.match(log, /"name":"hidden"/)
  t.notMatch(log, /very-secret-value/)
  t.notMatch(log, controlPlane.description.adminToken)

  const { stdout } = await controlPlane.kubectl(['get', 'configmap', 'extension-apiserver-authentication', '--namespace', 'kube-system', '--output', 'json'])
  const { data }: { data: Record<string, string> } = JSON.parse(stdout)
  t.equal(data['requestheader-client-ca-file']?.trim(), controlPlane.requestHeader.caPem.trim())
  t.equal(data['requestheader-allowed-names'], '["front-proxy-client"]')
  t.match(controlPlane.requestHeader.clientCertPem, /BEGIN CERTIFICATE/)
})

await test('a port that is taken is an error that says so', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => void taken.close())
  const address = taken.address()
  const apiPort = typeof address === 'object' && address !== null ? address.port : 0
  await t.rejects(startControlPlane({ log: () => undefined, binaries, apiPort }), {
    name: 'ControlPlaneFailure',
    message: `port ${apiPort} is in use by another program; choose another one`,
  })
})

const clusterRole = (metadata: object, more: object) => ({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata, ...more })

await test('without kube-controller-manager, ServiceAccounts and aggregated rules are there all the same, and it says what is missing', async (t) => {
  const lines: string[] = []
  const { kubeControllerManager: _left, ...others } = binaries
  const controlPlane = await start(t, { binaries: others, log: (line) => lines.push(line) })
  t.equal(controlPlane.hasControllerManager, false)
  t.ok(lines.some((line) => /nothing collects garbage.*deleted namespaces stay Terminating/.test(line)))
  const namespace = await controlPlane.namespace('made-later')
  t.match(await controlPlane.call('GET', `/api/v1/namespaces/${namespace}/serviceaccounts/default`), { status: 200 })
  await controlPlane.kubectl(['create', '-f', '-'], {
    input: JSON.stringify({
      apiVersion: 'v1',
      kind: 'List',
      items: [
        clusterRole({ name: 'whole' }, { aggregationRule: { clusterRoleSelectors: [{ matchLabels: { part: 'yes' } }] } }),
        clusterRole({ name: 'part', labels: { part: 'yes' } }, { rules: [{ apiGroups: ['x'], resources: ['things'], verbs: ['get'] }] }),
      ],
    }),
  })
  await untilTrue('the rules are aggregated', async () => {
    const { stdout } = await controlPlane.kubectl(['get', 'clusterrole', 'whole', '--output', 'jsonpath={.rules[*].resources}'])
    return stdout === '["things"]'
  })
})
