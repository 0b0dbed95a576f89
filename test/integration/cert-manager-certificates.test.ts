/**
 * The shipped form for cert-manager with the real cert-manager: its controllers issue, its injector tells the API server of
 * the CA, and the webhook serves what they wrote. There is no kubelet: this file writes the Secret's files as one would.
 */
import { X509Certificate } from 'node:crypto'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { t, test } from 'tap'
import { applyCertManagerDefinitions, certManagerProgram, startCertManager } from '../../hack/cert-manager/cert-manager.ts'
import { freePort } from '../../hack/control-plane/free-port.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { applyManifests } from '../../hack/sandbox/manifests.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { ANNOTATION, API_VERSION, SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { WebhookConfiguration } from '../../src/api/webhook-configuration.ts'
import { isCoded } from '../../src/errors.ts'
import { createClient } from '../../src/kube/client.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_REQUESTS, MUTATING_WEBHOOK_CONFIGURATIONS, SECRETS, VALIDATING_WEBHOOK_CONFIGURATIONS } from '../../src/kube/resources.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { kill } from '../support/processes.ts'
import { secretVolume } from '../support/secret-volume.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

// cert-manager is built once for a machine: minutes.
t.setTimeout(30 * 60_000)
const program = await certManagerProgram()

const cluster = await startControlPlane({ log: () => undefined })
t.teardown(() => cluster.stop())
const kube = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'access-gate-test' })
t.teardown(() => kube.close())
const port = await freePort()
await applyCertManagerDefinitions(cluster)
await applyManifests(cluster, port, 'cert-manager')
const certManager = startCertManager(program, cluster.adminKubeconfig)
t.teardown(() => certManager.stop())

interface Condition {
  type: string
  status: string
  reason?: string
  message?: string
  lastTransitionTime?: string
}
interface Certificate extends KubeObject {
  status?: { revision?: number; conditions?: Condition[] }
}
const CERTIFICATES: Resource<Certificate> = { apiVersion: 'cert-manager.io/v1', kind: 'Certificate', plural: 'certificates', namespaced: true }

const ROOT = 'access-gate-webhook-ca'
const LEAF = 'access-gate-webhook-certificate'
const BOUND_MS = 60_000

/** Rejects when cert-manager ended, so that a wait says that and not what did not come. */
const orDied = <T>(work: Promise<T>): Promise<T> => {
  const died = certManager.died.then((sentence): never => {
    throw new Error(sentence)
  })
  return Promise.race([work, died])
}

interface Issued {
  /** base64, by file name. */
  data: Record<string, string>
  certificate: X509Certificate
  /** ca.crt, PEM. */
  ca: string
}

const decode = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8')

/** The Certificate's Secret once its n-th issuance is complete. The Certificate and its Secret have the same name. */
const issued = (name: string, revision: number): Promise<Issued> => {
  let seen: Certificate | undefined
  const look = async (): Promise<Issued | undefined> => {
    seen = await kube.get(CERTIFICATES, SYSTEM_NAMESPACE, name)
    const conditions = seen?.status?.conditions ?? []
    const isReady = conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
    if (seen?.status?.revision !== revision || !isReady || conditions.some(({ type }) => type === 'Issuing')) return undefined
    const data = (await kube.get(SECRETS, SYSTEM_NAMESPACE, name))?.data
    const { 'tls.crt': certificate, 'ca.crt': ca } = data ?? {}
    return data === undefined || certificate === undefined || ca === undefined ? undefined : { data, certificate: new X509Certificate(decode(certificate)), ca: decode(ca) }
  }
  return orDied(eventually(`issuance ${revision} of ${name}`, look, BOUND_MS, () => seen?.status))
}

/** As `cmctl renew` does it; read again when cert-manager itself wrote meanwhile. */
const renew = (name: string): Promise<void> =>
  untilTrue(`the renewal of ${name} is asked for`, async () => {
    const certificate = await kube.get(CERTIFICATES, SYSTEM_NAMESPACE, name)
    if (certificate === undefined) throw new Error(`there is no Certificate ${name}`)
    const issuing: Condition = { type: 'Issuing', status: 'True', reason: 'ManuallyTriggered', message: 'renewed by a test', lastTransitionTime: new Date().toISOString() }
    const renewed = { ...certificate, status: { ...certificate.status, conditions: [...(certificate.status?.conditions ?? []), issuing] } }
    return kube.replaceStatus(CERTIFICATES, renewed).then(
      () => true,
      (error: unknown) => (isCoded(error, 'KUBE_CONFLICT') ? false : Promise.reject(error)),
    )
  })

const fingerprints = (pem: string): string[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((one) => new X509Certificate(one).fingerprint256)

/** Fingerprints of the CAs that the API server trusts, of every webhook of both configurations. */
const bundles = async (): Promise<string[][]> => {
  const kinds: Resource<WebhookConfiguration>[] = [MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS]
  const configurations = await Promise.all(kinds.map((resource) => kube.get(resource, undefined, 'access-gate')))
  return configurations.flatMap((configuration) => (configuration?.webhooks ?? []).map(({ clientConfig }) => fingerprints(decode(clientConfig.caBundle ?? ''))))
}

/** The injector may keep roots that were there before. */
const untilInjected = ({ fingerprint256 }: X509Certificate): Promise<void> =>
  orDied(untilTrue('every webhook has the CA', async () => (await bundles()).every((bundle) => bundle.includes(fingerprint256)), BOUND_MS))

/** What is presented to a client that trusts the CA. @throws Error when it does not lead to that CA, or nobody listens */
const served = (ca: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca, servername: `${SERVICE_ACCOUNT.webhook}.${SYSTEM_NAMESPACE}.svc` }, () => {
      const peer = socket.getPeerX509Certificate()
      socket.end()
      resolve(peer?.fingerprint256 ?? '')
    })
    socket.once('error', reject)
  })

/** @param apiVersion of the Pod; anything but v1 is refused */
const create = (name: string, apiVersion = 'v1') =>
  cluster.call('POST', `/apis/${API_VERSION}/namespaces/default/accessrequests`, {
    apiVersion: API_VERSION,
    kind: 'AccessRequest',
    metadata: { name },
    spec: {
      subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
      connectorRef: { name: 'harbor' },
      context: { objectRef: { apiVersion, kind: 'Pod', name: 'build', namespace: 'cicd' } },
    },
  })

const OUR_REFUSAL = { status: 422, text: /admission webhook \\"access-request\.connectors\.alauda\.io\\" denied the request: spec\.context\.objectRef\.apiVersion/ }

/** The API server learns of a changed configuration in its own time. */
const untilAnswered = async (): Promise<void> => {
  let seen: unknown
  const ask = async (): Promise<true | undefined> => {
    const answer = await create('asked', 'v2')
    seen = answer
    return OUR_REFUSAL.text.test(answer.text) ? true : undefined
  }
  await eventually('the API server passes on what our webhook says', ask, BOUND_MS, () => seen)
}

const first = { root: await issued(ROOT, 1), leaf: await issued(LEAF, 1) }

// The program as its Pod runs it: its own ServiceAccount, and the files of the Secret.
const folder = await temporaryFolder(t)
const volume = secretVolume(folder)
await volume.write(first.leaf.data)
const kubeconfig = await cluster.kubeconfigFor({ name: SERVICE_ACCOUNT.webhook, token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.webhook) })
const webhook = spawn(
  process.execPath,
  [
    join(import.meta.dirname, '../../src/main.ts'),
    'webhook',
    `--kubeconfig=${kubeconfig}`,
    '--host=127.0.0.1',
    `--port=${port}`,
    '--metrics-host=127.0.0.1',
    '--metrics-port=0',
    '--drain-seconds=0',
    '--log-level=error',
    `--tls-cert-file=${join(folder, 'tls.crt')}`,
    `--tls-key-file=${join(folder, 'tls.key')}`,
  ],
  { stdio: ['ignore', 'ignore', 'inherit'] },
)
const isUp = (): boolean => webhook.exitCode === null && webhook.signalCode === null
t.teardown(async () => {
  if (isUp()) await kill(webhook, 'SIGKILL')
})

const serves = (issue: Issued, ca = issue.ca): Promise<void> =>
  untilTrue(
    'the webhook serves the certificate',
    async () => {
      if (!isUp()) throw new Error('the webhook ended by itself')
      return (await served(ca).catch(() => '')) === issue.certificate.fingerprint256
    },
    BOUND_MS,
  )

const DAY_MS = 24 * 3_600_000
const lifeInDays = ({ validFromDate, validToDate }: X509Certificate): number => (validToDate.getTime() - validFromDate.getTime()) / DAY_MS

await test('cert-manager makes a root that lives long, and a certificate for the names of the Service that it signs', async (subtest) => {
  const { root, leaf } = first
  subtest.match(root.certificate, { ca: true, subject: 'CN=access-gate-webhook-ca', issuer: 'CN=access-gate-webhook-ca' })
  subtest.equal(lifeInDays(root.certificate), 3650)
  subtest.match(leaf.certificate, {
    ca: false,
    subjectAltName: 'DNS:access-gate-webhook.connectors-system.svc, DNS:access-gate-webhook.connectors-system.svc.cluster.local',
    issuer: 'CN=access-gate-webhook-ca',
    // What Node calls the key usage is the extended one: server auth.
    keyUsage: ['1.3.6.1.5.5.7.3.1'],
    publicKey: { asymmetricKeyType: 'ec' },
  })
  subtest.equal(lifeInDays(leaf.certificate), 90)
  subtest.ok(leaf.certificate.checkIssued(root.certificate) && leaf.certificate.verify(root.certificate.publicKey))
  subtest.equal(leaf.ca, root.ca)
})

await test('its injector puts the root into every webhook, and applying the manifests once more leaves it there', async (subtest) => {
  const { certificate } = first.root
  await untilInjected(certificate)
  const alone = Array.from({ length: 6 }, () => [certificate.fingerprint256])
  subtest.strictSame(await bundles(), alone)
  await applyManifests(cluster, port, 'cert-manager')
  subtest.strictSame(await bundles(), alone)
})

await test('the API server calls the webhook with the injected CA: a bad request is refused, a good one made complete', async (subtest) => {
  await serves(first.leaf)
  await untilAnswered()
  subtest.match(await create('bad', 'v2'), OUR_REFUSAL)
  subtest.equal(await kube.get(ACCESS_REQUESTS, 'default', 'bad'), undefined)
  subtest.match(await create('good'), { status: 201 })
  const request: AccessRequest | undefined = await kube.get(ACCESS_REQUESTS, 'default', 'good')
  subtest.match(request?.metadata.annotations, { [ANNOTATION.requestedBy]: /.+/ }, 'by the mutating hook')
})

await test('a renewed certificate has a new key, and is served without a restart', async (subtest) => {
  await renew(LEAF)
  const second = await issued(LEAF, 2)
  subtest.not(second.certificate.fingerprint256, first.leaf.certificate.fingerprint256)
  subtest.not(second.data['tls.key'], first.leaf.data['tls.key'])
  subtest.equal(second.ca, first.leaf.ca)
  subtest.match(await create('between'), { status: 201 }, 'until the new files are there, the old ones serve on')
  await volume.write(second.data)
  await serves(second)
  subtest.match(await create('bad', 'v2'), OUR_REFUSAL)
  subtest.match(await create('after-leaf'), { status: 201 })
})

await test('a renewed root keeps its key, so that the certificate in use stays valid under it', async (subtest) => {
  const before = await issued(LEAF, 2)
  await renew(ROOT)
  const root = await issued(ROOT, 2)
  subtest.not(root.certificate.fingerprint256, first.root.certificate.fingerprint256)
  subtest.equal(root.data['tls.key'], first.root.data['tls.key'])
  subtest.ok(before.certificate.checkIssued(root.certificate) && before.certificate.verify(root.certificate.publicKey))

  await renew(LEAF)
  const third = await issued(LEAF, 3)
  subtest.strictSame(fingerprints(third.ca), [root.certificate.fingerprint256])
  await untilInjected(root.certificate)
  // The Pods' files come later than the CA: what the old root signed is served to whoever trusts the new one alone.
  subtest.equal(await served(third.ca), before.certificate.fingerprint256)
  subtest.match(await create('after-root'), { status: 201 })
  await volume.write(third.data)
  await serves(third)
  subtest.match(await create('bad', 'v2'), OUR_REFUSAL)
  subtest.match(await create('after-all'), { status: 201 })
})
