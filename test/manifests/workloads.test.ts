import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { DEFAULT_WEBHOOK_OPTIONS } from '../../webhooks/options.ts'
import { MANIFESTS, manifestOf, readManifests, type Manifest } from '../support/manifests.ts'

interface Deployment extends Manifest {
  spec: {
    replicas: number
    selector: { matchLabels: Record<string, string> }
    strategy: { rollingUpdate: object }
    template: {
      metadata: { labels: Record<string, string> }
      spec: { serviceAccountName: string; terminationGracePeriodSeconds: number; securityContext: object; containers: { image: string; args: string[]; ports: { name: string; containerPort: number }[] }[] }
    }
  }
}

const isDeployment = (manifest: Manifest): manifest is Deployment => manifest.kind === 'Deployment'

const base = await readManifests('base')
const deployments = base.filter(isDeployment)
const ports = ({ spec }: Deployment): Record<string, number> =>
  Object.fromEntries((spec.template.spec.containers[0]?.ports ?? []).map(({ name, containerPort }) => [name, containerPort]))

await test('one Deployment for each role that runs in the cluster', async (t) => {
  t.strictSame(
    deployments.map(({ metadata, spec }) => [metadata.name, spec.template.spec.serviceAccountName]),
    [
      [SERVICE_ACCOUNT.webhook, SERVICE_ACCOUNT.webhook],
      [SERVICE_ACCOUNT.controller, SERVICE_ACCOUNT.controller],
    ],
  )
})

for (const deployment of deployments) {
  const { metadata, spec } = deployment

  await test(`${metadata.name}: two replicas, none of which goes before its successor is ready`, async (t) => {
    t.equal(spec.replicas, 2)
    t.strictSame(spec.strategy, { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } })
    t.strictSame(spec.selector.matchLabels, spec.template.metadata.labels)
    t.match(manifestOf(base, 'PodDisruptionBudget', metadata.name), { spec: { unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: spec.selector } })
  })

  await test(`${metadata.name}: its Pods keep to the restricted Pod Security level and a read-only disk`, async (t) => {
    t.strictSame(spec.template.spec.securityContext, { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: { type: 'RuntimeDefault' } })
    t.match(spec.template.spec.containers, [
      {
        image: 'access-gate',
        securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
        resources: { requests: { cpu: /^\d+m$/, memory: /^\d+Mi$/ }, limits: { memory: /^\d+[MG]i$/ } },
      },
    ])
  })

  await test(`${metadata.name}: it is probed on its plain port`, async (t) => {
    t.match(spec.template.spec.containers, [
      { livenessProbe: { httpGet: { path: '/healthz', port: 'metrics' } }, readinessProbe: { httpGet: { path: '/readyz', port: 'metrics' } } },
    ])
    t.equal(ports(deployment)['metrics'], 8080)
    t.ok(spec.template.spec.containers[0]?.args.includes('--metrics-port=8080'))
  })
}

await test('Kubernetes waits for the end of a Pod longer than the program takes for it', async (t) => {
  const { drainMs, closeMs } = DEFAULT_WEBHOOK_OPTIONS
  const [webhook, controller] = deployments.map(({ spec }) => spec.template.spec.terminationGracePeriodSeconds)
  // The drain, the calls in flight, the reads of its own, and something over.
  t.ok((webhook ?? 0) * 1000 >= drainMs + 2 * closeMs + 5_000)
  t.equal(controller, 30)
})

await test('a node that drains takes one Pod of each role at a time', async (t) => {
  t.match(manifestOf(base, 'PodDisruptionBudget', SERVICE_ACCOUNT.webhook)['spec'], { minAvailable: 1 })
  t.match(manifestOf(base, 'PodDisruptionBudget', SERVICE_ACCOUNT.controller)['spec'], { maxUnavailable: 1 })
  for (const { spec } of deployments)
    t.match(spec.template.spec, { topologySpreadConstraints: [{ topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway', labelSelector: spec.selector }, { topologyKey: 'topology.kubernetes.io/zone' }] })
})

await test('the Service reaches the webhook on the port that it listens on', async (t) => {
  const [webhook] = deployments
  const service = manifestOf(base, 'Service', 'access-gate-webhook')
  t.strictSame(service['spec'], {
    selector: webhook?.spec.template.metadata.labels,
    ports: [{ name: 'https', port: 443, targetPort: 'https' }],
  })
  t.equal(webhook === undefined ? undefined : ports(webhook)['https'], 8443)
  t.strictSame(webhook?.spec.template.spec.containers[0]?.args, ['webhook', '--port=8443', '--metrics-port=8080'])
})

await test('the image has the version of the package', async (t) => {
  const kustomization: unknown = parse(await readFile(join(MANIFESTS, 'base/kustomization.yaml'), 'utf8'))
  const { version }: { version: string } = JSON.parse(await readFile(join(MANIFESTS, '../package.json'), 'utf8'))
  t.match(kustomization, { images: [{ name: 'access-gate', newTag: version }] })
})
