import { test } from 'tap'
import { CSI_DRIVER, FLAGS_CONFIG_MAP, SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { manifestOf, readManifests, type Manifest } from '../support/manifests.ts'

interface DaemonSet extends Manifest {
  spec: {
    selector: { matchLabels: Record<string, string> }
    updateStrategy: object
    template: {
      metadata: { labels: Record<string, string> }
      spec: {
        serviceAccountName: string
        hostNetwork?: boolean
        hostPID?: boolean
        containers: { args: string[]; env: object[]; securityContext: object; volumeMounts: { name: string; mountPath: string }[] }[]
        volumes: { name: string; hostPath: { path: string; type: string } }[]
      }
    }
  }
}

const isDaemonSet = (manifest: Manifest): manifest is DaemonSet => manifest.kind === 'DaemonSet'

const base = await readManifests('base')
const [daemonSet, ...others] = base.filter(isDaemonSet)
if (daemonSet === undefined) throw new Error('the base has no DaemonSet')
const { metadata, spec } = daemonSet
const pod = spec.template.spec

await test('there is one DaemonSet, the plugin, with an account of its own', async (t) => {
  t.strictSame(others, [])
  t.equal(metadata.name, SERVICE_ACCOUNT.csi)
  t.equal(pod.serviceAccountName, SERVICE_ACCOUNT.csi)
  t.strictSame(spec.selector.matchLabels, spec.template.metadata.labels)
})

await test('kubelet says which Pod it is, makes the tokens and calls again to renew them; nothing is attached', async (t) => {
  t.strictSame(manifestOf(base, 'CSIDriver', CSI_DRIVER)['spec'], {
    volumeLifecycleModes: ['Ephemeral'],
    attachRequired: false,
    podInfoOnMount: true,
    fsGroupPolicy: 'None',
    tokenRequests: [{ audience: 'connectors-proxy', expirationSeconds: 1800 }],
    requiresRepublish: true,
  })
})

await test('it runs on every Linux node, whatever that is tainted with, and goes last', async (t) => {
  t.match(pod, { nodeSelector: { 'kubernetes.io/os': 'linux' }, tolerations: [{ operator: 'Exists', key: undefined }], priorityClassName: 'system-node-critical' })
})

await test('nor on a node that is none: virtual ones have no folders of kubelet', async (t) => {
  const matchExpressions = [
    { key: 'type', operator: 'NotIn', values: ['virtual-kubelet'] },
    { key: 'eks.amazonaws.com/compute-type', operator: 'NotIn', values: ['fargate'] },
  ]
  t.match(pod, { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] } } } })
})

await test('two of them never share a node: there is one socket', async (t) => {
  t.strictSame(spec.updateStrategy, { rollingUpdate: { maxUnavailable: '10%' } })
})

await test('it is root with one power of root, on a read-only disk, in none of the namespaces of the host', async (t) => {
  t.match(pod, { hostNetwork: undefined, hostPID: undefined, hostIPC: undefined })
  t.match(pod, { securityContext: { runAsUser: 0, runAsGroup: 0, seccompProfile: { type: 'RuntimeDefault' } } })
  t.strictSame(
    pod.containers.map(({ securityContext }) => securityContext),
    [{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'], add: ['CHOWN'] } }],
  )
})

await test('of the node it sees three folders of kubelet, without mount propagation', async (t) => {
  const [container] = pod.containers
  const paths = Object.fromEntries(pod.volumes.map(({ name, hostPath }) => [name, hostPath]))
  t.strictSame(container?.volumeMounts.map(({ name, ...mount }) => ({ ...mount, ...paths[name] })), [
    { mountPath: '/csi', path: `/var/lib/kubelet/plugins/${CSI_DRIVER}`, type: 'DirectoryOrCreate' },
    { mountPath: '/registration', path: '/var/lib/kubelet/plugins_registry', type: 'Directory' },
    // kubelet names a path on the node, so it is the same one inside.
    { mountPath: '/var/lib/kubelet/pods', path: '/var/lib/kubelet/pods', type: 'Directory' },
  ])
})

await test('it is told its node, and nothing that is not the default', async (t) => {
  const [container] = pod.containers
  t.strictSame(container?.args, ['csi', '--metrics-port=8080'])
  t.strictSame(container?.env, [
    { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
    { name: 'NODE_OPTIONS', value: '--max-semi-space-size=1' },
  ])
})

await test('it is probed on its plain port, and bounded', async (t) => {
  t.match(pod.containers, [
    {
      image: 'access-gate',
      ports: [{ name: 'metrics', containerPort: 8080 }],
      livenessProbe: { httpGet: { path: '/healthz', port: 'metrics' } },
      readinessProbe: { httpGet: { path: '/readyz', port: 'metrics' } },
      resources: { requests: { cpu: '20m', memory: '128Mi' }, limits: { memory: '256Mi' } },
    },
  ])
})

await test('the ConfigMap that its Role names is the one with the flags', async (t) => {
  t.match(manifestOf(base, 'Role', SERVICE_ACCOUNT.csi), { rules: [{ resources: ['configmaps'], resourceNames: [FLAGS_CONFIG_MAP] }] })
})
