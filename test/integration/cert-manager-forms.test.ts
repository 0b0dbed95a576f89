import { join } from 'node:path'
import { t, test } from 'tap'
import { applyCertManagerDefinitions } from '../../hack/cert-manager/cert-manager.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { eventually } from '../support/eventually.ts'
import { MANIFESTS, manifestOf, type Manifest } from '../support/manifests.ts'
import { kustomize, yamlOf } from '../support/shipped-ground.ts'

// The Go module of cert-manager may have to be downloaded first.
t.setTimeout(10 * 60_000)

// Of its own: the one that tests share runs with the form for self-signed certificates.
const cluster = await startControlPlane({ log: () => undefined })
t.teardown(() => cluster.stop())
await applyCertManagerDefinitions(cluster)

const base = await kustomize(cluster, 'base')
const certManager = await kustomize(cluster, 'cert-manager')
const selfSigned = await kustomize(cluster, 'self-signed')

const idOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`
const same = (one: Manifest, other: Manifest): boolean => JSON.stringify(one) === JSON.stringify(other)
/** What an overlay adds to the base or changes in it. */
const changed = (overlay: readonly Manifest[]): string[] =>
  overlay.filter((manifest) => !base.some((other) => same(manifest, other))).map(idOf).toSorted()

await test('apply -k of the root is the form for cert-manager', async (subtest) => {
  subtest.strictSame(await kustomize(cluster, '.'), certManager)
})

await test('the forms differ in the certificate alone: rights to Secrets and webhook configurations are those of the self-signed form', async (subtest) => {
  subtest.strictSame(changed(certManager), [
    'Certificate access-gate-webhook-ca',
    'Certificate access-gate-webhook-certificate',
    'Deployment access-gate-webhook',
    'Issuer access-gate-webhook-ca',
    'Issuer access-gate-webhook-root',
    'MutatingWebhookConfiguration access-gate',
    'ValidatingWebhookConfiguration access-gate',
  ])
  subtest.strictSame(changed(selfSigned), [
    'ClusterRole access-gate-webhook-self-signed',
    'ClusterRoleBinding access-gate-webhook-self-signed',
    'Deployment access-gate-webhook',
    'Role access-gate-webhook-self-signed',
    'RoleBinding access-gate-webhook-self-signed',
  ])
  for (const manifests of [certManager, selfSigned])
    subtest.strictSame(base.map(idOf).filter((id) => !manifests.some((manifest) => idOf(manifest) === id)), [], 'nothing of the base is left out')
})

await test('the form for cert-manager adds to a webhook configuration where its CA comes from, and nothing else', async (subtest) => {
  for (const kind of ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration']) {
    const shipped = manifestOf(base, kind, 'access-gate')
    const annotations = { 'cert-manager.io/inject-ca-from': `${SYSTEM_NAMESPACE}/access-gate-webhook-certificate` }
    subtest.strictSame(manifestOf(certManager, kind, 'access-gate'), { ...shipped, metadata: { ...shipped.metadata, annotations: { ...shipped.metadata.annotations, ...annotations } } })
  }
})

const MOUNTED = '/etc/access-gate/certificate'

await test('the webhook reads the files of the Secret that cert-manager writes, and its Pod waits for that Secret', async (subtest) => {
  const deployment = manifestOf(certManager, 'Deployment', 'access-gate-webhook')
  subtest.match(deployment, {
    spec: {
      template: {
        spec: {
          securityContext: { runAsUser: 65532, runAsNonRoot: true, fsGroup: 65532 },
          containers: [
            {
              args: ['webhook', '--port=8443', '--metrics-port=8080', `--tls-cert-file=${MOUNTED}/tls.crt`, `--tls-key-file=${MOUNTED}/tls.key`],
              volumeMounts: [{ name: 'certificate', mountPath: MOUNTED, readOnly: true, subPath: undefined }],
              securityContext: { readOnlyRootFilesystem: true },
            },
          ],
          volumes: [{ name: 'certificate', secret: { secretName: 'access-gate-webhook-certificate', defaultMode: 0o440, optional: undefined } }],
        },
      },
    },
  })
  subtest.match(manifestOf(certManager, 'Certificate', 'access-gate-webhook-certificate'), { spec: { secretName: 'access-gate-webhook-certificate' } })
})

/** Paths at which a live object is not what was applied. Defaults that the API server adds are none. */
const differences = (applied: unknown, live: unknown, path = ''): string[] => {
  if (Array.isArray(applied))
    return Array.isArray(live) && live.length === applied.length ? applied.flatMap((item, index) => differences(item, live[index], `${path}[${index}]`)) : [path]
  if (typeof applied === 'object' && applied !== null)
    return Object.entries(applied).flatMap(([key, value]) => differences(value, typeof live === 'object' && live !== null ? Reflect.get(live, key) : undefined, `${path}.${key}`))
  return applied === live ? [] : [path]
}

interface Live extends Manifest {
  metadata: Manifest['metadata'] & { resourceVersion: string; managedFields?: unknown }
}

/** In the order of the manifests. */
const read = async (manifests: readonly Manifest[]): Promise<Live[]> => {
  const { stdout } = await cluster.kubectl(['get', '-f', '-', '-o', 'json'], { input: yamlOf(manifests) })
  const list: { items: Live[] } = JSON.parse(stdout)
  return list.items
}

/** Kubernetes itself writes to these: a status, the rules of an aggregated role. */
const WRITTEN_BY_OTHERS = new Set(['CustomResourceDefinition', 'ValidatingAdmissionPolicy', 'ClusterRole', 'Namespace'])

/** What a second apply must leave as it is. */
const state = (objects: readonly Live[]): Record<string, unknown> =>
  Object.fromEntries(
    objects.map((live) => {
      if (!WRITTEN_BY_OTHERS.has(live.kind)) return [idOf(live), live.metadata.resourceVersion]
      const { status: _status, rules, metadata, ...rest } = live
      const { resourceVersion: _version, managedFields: _fields, ...stable } = metadata
      return [idOf(live), { ...rest, metadata: stable, ...(!('aggregationRule' in live) && { rules }) }]
    }),
  )

/** Strict: a field that the API server does not know, or a value given twice, is an error. */
const apply = (folder: string) => cluster.kubectl(['apply', '--server-side', '--validate=strict', '-k', join(MANIFESTS, folder)], { allowFailure: true })

const WEBHOOK = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.webhook)
/** The first one is in the base: a webhook that may do nothing at all would be no answer. */
const RIGHTS = [
  'create accessrequests',
  'get secrets/access-gate-webhook-tls',
  'get secrets/access-gate-webhook-certificate',
  'create secrets',
  'update validatingwebhookconfigurations/access-gate',
]

const may = async (): Promise<string[]> => {
  const answers = await Promise.all(
    RIGHTS.map(async (right) => {
      const { stdout } = await cluster.kubectl(['auth', 'can-i', ...right.split(' '), '-n', SYSTEM_NAMESPACE, `--as=${WEBHOOK}`], { allowFailure: true })
      return stdout.startsWith('yes') ? right : undefined
    }),
  )
  return answers.filter((right) => right !== undefined)
}

const forms: Record<string, { folder: string; manifests: Manifest[]; rights: string[] }> = {
  'the form for cert-manager, on an empty cluster': { folder: '.', manifests: certManager, rights: ['create accessrequests'] },
  'the self-signed form, in place of the other one': {
    folder: 'self-signed',
    manifests: selfSigned,
    rights: ['create accessrequests', 'get secrets/access-gate-webhook-tls', 'create secrets', 'update validatingwebhookconfigurations/access-gate'],
  },
}

/** From 1.35 on, when a driver is made; an API server older than that refuses an object with the field. A component sets it. */
const UNLESS_NEW = /^(Warning: spec\.serviceAccountTokenInSecrets is unset[^\n]*\n)?$/

for (const [form, { folder, manifests, rights }] of Object.entries(forms)) {
  await test(form, async (suite) => {
    await suite.test('is taken as it is, without a warning but one, and nothing of it is dropped', async (subtest) => {
      subtest.match(await apply(folder), { code: 0, stderr: UNLESS_NEW })
      const live = await read(manifests)
      for (const [index, applied] of manifests.entries()) subtest.strictSame(differences(applied, live[index]), [], idOf(applied))
    })

    await suite.test('applied once more, it changes nothing', async (subtest) => {
      const before = state(await read(manifests))
      subtest.match(await apply(folder), { code: 0, stderr: /^$/ })
      subtest.strictSame(state(await read(manifests)), before)
    })

    await suite.test('gives the webhook the rights that it needs in this form', async (subtest) => {
      // The API server's authorizer takes a moment to follow.
      const found = await eventually('as many rights as this form gives', async () => {
        const now = await may()
        return now.length >= rights.length ? now : undefined
      })
      subtest.strictSame(found, rights)
    })
  })
}

await test('nothing of cert-manager stays in what both forms have', async (subtest) => {
  const shared = selfSigned.filter((manifest) => base.some((other) => idOf(other) === idOf(manifest)))
  subtest.notMatch(JSON.stringify(await read(shared)), /cert-manager\.io|access-gate-webhook-certificate|tls-cert-file|fsGroup(?!Policy)/)
})
