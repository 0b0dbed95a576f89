import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { authOption } from '../../src/auth/options.ts'
import { DEFAULT_EXTENSION_OPTIONS } from '../../src/extension/options.ts'
import { leastKeys } from '../../src/core/signing-keys.ts'
import { parseGoDuration } from '../../src/core/go-duration.ts'
import { rotateKeysOptions } from '../../src/jwt/rotate-keys.ts'
import { MANIFESTS, manifestOf, readManifests, type Manifest } from '../support/manifests.ts'

interface PodSpec {
  serviceAccountName: string
  terminationGracePeriodSeconds: number
  containers: { image: string; args: string[]; env?: { name: string; value?: string; valueFrom?: { configMapKeyRef: { name: string; key: string } } }[]; ports: { name: string; containerPort: number }[] }[]
}
interface Template {
  metadata: { labels: Record<string, string> }
  spec: PodSpec
}
interface Deployment extends Manifest {
  spec: { replicas: number; selector: object; strategy: object; template: Template }
}
interface CronJob extends Manifest {
  spec: { schedule: string; concurrencyPolicy: string; jobTemplate: { spec: { template: Template } } }
}

const extension = await readManifests('extension-base')
const auth = await readManifests('auth')
const deployments = [...extension, ...auth].filter((manifest): manifest is Deployment => manifest.kind === 'Deployment')
const cronJobs = [...extension, ...auth].filter((manifest): manifest is CronJob => manifest.kind === 'CronJob')

const securityContext = { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: { type: 'RuntimeDefault' } }
const containerSecurity = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }

await test('one Deployment for each of the two roles, with an account of its own', async (t) => {
  t.strictSame(
    deployments.map(({ metadata, spec }) => [metadata.name, spec.template.spec.serviceAccountName, spec.template.spec.containers[0]?.args]),
    [
      [SERVICE_ACCOUNT.extension, SERVICE_ACCOUNT.extension, ['extension', '--port=7443', '--metrics-port=8080']],
      [SERVICE_ACCOUNT.auth, SERVICE_ACCOUNT.auth, ['auth']],
    ],
  )
})

for (const { metadata, spec } of deployments) {
  await test(`${metadata.name}: two replicas, on different nodes where there are some, none of which goes before its successor is ready`, async (t) => {
    t.equal(spec.replicas, 2)
    t.strictSame(spec.strategy, { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } })
    t.match(manifestOf([...extension, ...auth], 'PodDisruptionBudget', metadata.name), { spec: { minAvailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: spec.selector } })
    t.strictSame(spec.selector, { matchLabels: spec.template.metadata.labels })
    t.match(spec.template.spec, { topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map((topologyKey) => ({ topologyKey, whenUnsatisfiable: 'ScheduleAnyway', labelSelector: spec.selector })) })
  })

  await test(`${metadata.name}: its Pods keep to the restricted Pod Security level and a read-only disk, and are probed on a plain port`, async (t) => {
    t.match(spec.template.spec, { securityContext })
    t.match(spec.template.spec.containers, [
      {
        image: 'access-gate',
        securityContext: containerSecurity,
        resources: { requests: { cpu: /^\d+m$/, memory: /^\d+Mi$/ }, limits: { memory: /^\d+Mi$/ } },
        livenessProbe: { httpGet: { path: '/healthz', port: /^(metrics|probes)$/ } },
        readinessProbe: { httpGet: { path: '/readyz', port: /^(metrics|probes)$/ } },
      },
    ])
  })
}

await test('Kubernetes waits for the end of a Pod longer than the program takes for it', async (t) => {
  const { drainMs, closeMs } = DEFAULT_EXTENSION_OPTIONS
  const [extensionSeconds = 0, authSeconds = 0] = deployments.map(({ spec }) => spec.template.spec.terminationGracePeriodSeconds)
  t.ok(extensionSeconds * 1000 >= drainMs + 2 * closeMs + 5_000)
  t.ok(authSeconds * 1000 >= (parseGoDuration(authOption('SHUTDOWN_TIMEOUT').default ?? '') ?? Infinity) + 5_000)
})

const portsOf = (name: string): Record<string, number> =>
  Object.fromEntries((deployments.find(({ metadata }) => metadata.name === name)?.spec.template.spec.containers[0]?.ports ?? []).map((port) => [port.name, port.containerPort]))

await test('the Services lead to the ports that the roles listen on by default', async (t) => {
  t.strictSame(portsOf(SERVICE_ACCOUNT.extension), { https: 7443, metrics: 8080 })
  t.strictSame(portsOf(SERVICE_ACCOUNT.auth), { http: 8080, metrics: 9090, probes: 9091 })
  t.match(manifestOf(extension, 'Service', SERVICE_ACCOUNT.extension), { spec: { ports: [{ name: 'https', port: 443, targetPort: 'https' }] } })
  t.match(manifestOf(auth, 'Service', SERVICE_ACCOUNT.auth), { spec: { ports: [{ name: 'http', port: 80, targetPort: 'http' }] } })
})

await test('each APIService is the group and version of its name, and leads to the Service of the extension with its CA checked', async (t) => {
  const services = extension.filter(({ kind }) => kind === 'APIService')
  t.strictSame(services.map(({ metadata }) => metadata.name), DEFAULT_EXTENSION_OPTIONS.apiServiceNames)
  for (const { metadata, spec } of services)
    t.strictSame(spec, {
      group: metadata.name.slice('v1alpha1.'.length),
      version: 'v1alpha1',
      groupPriorityMinimum: 100,
      versionPriority: 100,
      service: { name: SERVICE_ACCOUNT.extension, namespace: 'connectors-system', port: 443 },
    })
})

await test('only the reverse proxy may reach auth: a namespace with the label that the documentation names', async (t) => {
  t.match(manifestOf(auth, 'NetworkPolicy', SERVICE_ACCOUNT.auth), {
    spec: {
      podSelector: { matchLabels: { 'app.kubernetes.io/component': 'auth' } },
      policyTypes: ['Ingress'],
      ingress: [
        { from: [{ namespaceSelector: { matchLabels: { 'connectors.alauda.io/ingress': 'true' } } }], ports: [{ port: 'http' }] },
        { from: undefined, ports: [{ port: 'metrics' }, { port: 'probes' }] },
      ],
    },
  })
  t.match(await readFile(join(MANIFESTS, '../docs/connections.md'), 'utf8'), 'connectors.alauda.io/ingress=true')
})

const config = manifestOf(auth, 'ConfigMap', SERVICE_ACCOUNT.auth)['data'] as Record<string, string>

/** What a container of a job sees; values of the ConfigMap are looked up. */
const environment = ({ spec }: CronJob): Record<string, string | undefined> =>
  Object.fromEntries((spec.jobTemplate.spec.template.spec.containers[0]?.env ?? []).map(({ name, value, valueFrom }) => [name, value ?? config[valueFrom?.configMapKeyRef.key ?? '']]))

const rotations: Record<string, { secret: string; keep: number }> = {
  'access-gate-extension-keys': { secret: 'access-gate-extension-keys', keep: 2 },
  'access-gate-auth-keys': { secret: 'authmiddleware-secrets', keep: 5 },
}

for (const job of cronJobs) {
  await test(`${job.metadata.name}: rotates its Secret, and keeps a key until nothing that it signed is valid any more`, async (t) => {
    const settings = environment(job)
    const { secret, keep } = rotations[job.metadata.name] ?? {}
    const options = rotateKeysOptions(settings)
    t.match(options, { namespace: 'connectors-system', secretName: secret, keep, dryRun: false })
    t.equal(options.keep, leastKeys(parseGoDuration(settings['TOKEN_TTL'] ?? '') ?? 0, parseGoDuration(settings['ROTATION_INTERVAL'] ?? '') ?? 0))
    t.equal(job.spec.schedule, `*/${(parseGoDuration(settings['ROTATION_INTERVAL'] ?? '') ?? 0) / 60_000} * * * *`, 'the schedule is the interval')
    t.equal(job.spec.concurrencyPolicy, 'Forbid')
  })

  await test(`${job.metadata.name}: runs as an account of its own, with nothing of the machine`, async (t) => {
    const { spec } = job.spec.jobTemplate.spec.template
    t.match(spec, { serviceAccountName: SERVICE_ACCOUNT.rotateKeys, restartPolicy: 'Never', securityContext, containers: [{ image: 'access-gate', args: ['rotate-keys'], securityContext: containerSecurity }] })
  })
}

await test('both Secrets have a job', async (t) => {
  t.strictSame(cronJobs.map(({ metadata }) => metadata.name), Object.keys(rotations))
})

await test('the image has the version of the package', async (t) => {
  const { version }: { version: string } = JSON.parse(await readFile(join(MANIFESTS, '../package.json'), 'utf8'))
  for (const folder of ['extension-base', 'auth']) t.match(parse(await readFile(join(MANIFESTS, folder, 'kustomization.yaml'), 'utf8')), { images: [{ name: 'access-gate', newTag: version }] }, folder)
})
