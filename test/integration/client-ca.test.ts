import { writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { t, test } from 'tap'
import { parse, stringify } from 'yaml'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { applyManifests } from '../../hack/sandbox/manifests.ts'
import { commandLine, type Settings } from '../../src/command-line.ts'
import { API_VERSION, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { call } from '../webhooks/sockets.ts'
import { clientCertificates, type ClientCertificates } from '../support/client-certificates.ts'
import { codeBlocks } from '../support/doc-blocks.ts'
import { untilTrue } from '../support/eventually.ts'
import { MANIFESTS, manifestOf, parseManifests } from '../support/manifests.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { deploy, isReady, startReplica, WEBHOOK_HOST, webhookService } from '../support/webhook-service.ts'

const SECTION = 'Only the API server may call the webhooks'

const folder = await temporaryFolder(t)
const put = async (name: string, text: string): Promise<string> => {
  await writeFile(join(folder, name), text)
  return join(folder, name)
}

const [apiServer, stranger] = await Promise.all([clientCertificates('kube-apiserver'), clientCertificates('stranger')])
const service = await webhookService(t, 0)

const here = (text: string): string => text.replaceAll('/etc/kubernetes/admission', folder)

/** The two files of the documentation, with paths of this machine; the port here is not 443, so it stands behind the name. */
const admissionConfiguration = async (): Promise<string> => {
  const [configuration = '', kubeconfig = ''] = await codeBlocks('install.md', SECTION, 'yaml')
  await put('client.crt', apiServer.cert)
  await put('client.key', apiServer.key)
  await put('webhooks.kubeconfig', here(kubeconfig).replace(`name: ${WEBHOOK_HOST}`, `name: ${WEBHOOK_HOST}:${service.port}`))
  return put('configuration.yaml', here(configuration))
}

const cluster = await startControlPlane({ log: () => undefined, apiServerOptions: [`--admission-control-config-file=${await admissionConfiguration()}`] })
t.teardown(() => cluster.stop())
await applyManifests(cluster, service.port)
const caFile = await put('ca.crt', apiServer.caPem)
const replica = await startReplica(t, await deploy(t, cluster), ['--self-signed', `--client-ca-file=${caFile}`])
service.add(replica)

/** @param cel an expression that the webhook alone compiles */
const policy = (name: string, cel: string): string =>
  stringify({
    apiVersion: API_VERSION,
    kind: 'AccessPolicy',
    metadata: { name, namespace: 'default' },
    spec: {
      connector: { names: ['harbor'] },
      checkGrantedPermission: {
        spec: {
          checks: [{ name: 'approval', spec: { selector: { objectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'a' } }, state: { cel } } }],
          roleTemplate: { ref: { configMap: { name: 'connectors-use-connectors-proxy-in-pod' } } },
        },
      },
    },
  })
const createPolicy = (name: string, cel = '"pending"') => cluster.kubectl(['create', '-f', '-'], { input: policy(name, cel), allowFailure: true })

/** What was asked of the hook of policies, by its own count. */
const asked = async (): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${replica.metricsPort}/metrics`)).text()
  return [...text.matchAll(/^access_gate_admission_requests_total\{hook="validate-access-policy",[^}]*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
}

await test('the API server calls the webhooks with its certificate: admissions work, and are judged', async (subtest) => {
  // The CA of the serving certificate takes a moment to get into the webhook configurations, and from there to the API server.
  await untilTrue('a policy is admitted', async () => (await createPolicy('admitted')).code === 0, 60_000)
  const before = await asked()
  subtest.match(await createPolicy('refused', 'this is no expression'), { code: 1, stderr: /state\.cel: the expression is refused at character 6/ })
  subtest.equal((await asked()) - before, 1)
})

await test('nobody but the API server gets through the handshake', async (subtest) => {
  const { stdout } = await cluster.kubectl(['get', 'secret', 'access-gate-webhook-tls', '-n', SYSTEM_NAMESPACE, '-o', 'jsonpath={.data.ca\\.crt}'])
  const attempt = (certificate?: ClientCertificates): Promise<unknown> => {
    const own = certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }
    return call({ port: replica.port, path: '/validate/access-policy', ca: Buffer.from(stdout, 'base64').toString(), servername: WEBHOOK_HOST, body: '{}', ...own })
  }
  const before = await asked()
  await subtest.rejects(attempt(), { code: /ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED|ECONNRESET|EPIPE/ }, 'a caller without a certificate')
  await subtest.rejects(attempt(stranger), { code: /ERR_SSL_.*ALERT|ECONNRESET|EPIPE/ }, 'a caller with a certificate of another CA')
  subtest.equal(await asked(), before)
  subtest.match(await attempt(apiServer), { status: 400 }, 'with the right one the call is read, and found not to be a review')
})

await test('probes need no certificate: they use the plain port', async (subtest) => {
  subtest.ok(await isReady(replica))
  subtest.equal((await fetch(`http://127.0.0.1:${replica.metricsPort}/healthz`)).status, 200)
})

await test('the file is read again when it changes: a CA can be replaced by way of both', async (subtest) => {
  await put('ca.crt', stranger.caPem)
  // Open connections stay as they are; the API server gives one up only when it is cut.
  const { stdout } = await cluster.kubectl(['get', 'secret', 'access-gate-webhook-tls', '-n', SYSTEM_NAMESPACE, '-o', 'jsonpath={.data.ca\\.crt}'])
  const ca = Buffer.from(stdout, 'base64').toString()
  const answers = async ({ cert, key }: ClientCertificates): Promise<boolean> =>
    call({ port: replica.port, path: '/validate/access-policy', ca, servername: WEBHOOK_HOST, body: '{}', cert, key }).then(({ status }) => status === 400, () => false)
  await untilTrue('the other CA counts', () => answers(stranger), 60_000)
  subtest.notOk(await answers(apiServer))
  await put('ca.crt', `${apiServer.caPem.trim()}\n${stranger.caPem.trim()}\n`)
  await untilTrue('both count', async () => (await answers(stranger)) && (await answers(apiServer)), 60_000)
})

/** The arguments of the webhook in a form with the component, as kustomize makes it of an overlay like the one in the documentation. */
const withComponent = async (form: string) => {
  const overlay = await temporaryFolder(t)
  const path = (name: string): string => relative(overlay, join(MANIFESTS, name))
  const kustomization = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources: [path(form)], components: [path('client-ca')] }
  await writeFile(join(overlay, 'kustomization.yaml'), stringify(kustomization))
  const deployment = manifestOf(parseManifests((await cluster.kubectl(['kustomize', overlay])).stdout), 'Deployment', 'access-gate-webhook')
  const { spec } = (deployment['spec'] as { template: { spec: { containers: { args: string[]; volumeMounts: object[] }[]; volumes: object[] } } }).template
  return { args: spec.containers[0]?.args ?? [], mounts: spec.containers[0]?.volumeMounts ?? [], volumes: spec.volumes }
}

for (const form of ['.', 'self-signed']) {
  await test(`the component adds to the form ${form} one option, and the folder that it names`, async (subtest) => {
    const { args, mounts, volumes } = await withComponent(form)
    const settings: Settings[] = []
    await commandLine({ version: '0', env: {}, run: async (asks) => void settings.push(asks) }).parseAsync(args, { from: 'user' })
    subtest.match(settings, [{ role: 'webhook', options: { clientCaFile: '/etc/access-gate/client-ca/ca.crt' } }])
    subtest.strictSame(mounts.filter((mount) => 'mountPath' in mount && mount.mountPath === '/etc/access-gate/client-ca'), [{ name: 'client-ca', mountPath: '/etc/access-gate/client-ca', readOnly: true }])
    subtest.strictSame(volumes.filter((volume) => 'name' in volume && volume.name === 'client-ca'), [{ name: 'client-ca', configMap: { name: 'access-gate-client-ca' } }])
  })
}

await test('what the documentation shows for the webhook is what the component needs', async (subtest) => {
  const [command = ''] = await codeBlocks('install.md', SECTION, 'sh')
  subtest.equal(command.trim(), 'kubectl create configmap -n connectors-system access-gate-client-ca --from-file=ca.crt')
  const { stdout } = await cluster.kubectl([...command.trim().split(' ').slice(1), '--dry-run=client', '-o', 'yaml'].map((word) => word.replace('=ca.crt', `=${caFile}`)))
  subtest.match(parse(stdout), { metadata: { name: 'access-gate-client-ca' }, data: { 'ca.crt': /BEGIN CERTIFICATE/ } })
})
