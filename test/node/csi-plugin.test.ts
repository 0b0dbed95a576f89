import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { t as file, test } from 'tap'
import { CSI_DRIVER } from '../../src/api/names.ts'
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { startNode } from '../../hack/node/start.ts'
import { approvalControllerToken } from '../../hack/sandbox/approval-project.ts'
import { PLUGIN, startCsiPlugin } from '../../hack/sandbox/csi-plugin.ts'
import { applySamples } from '../../hack/sandbox/manifests.ts'
import { startSandbox } from '../../hack/sandbox/sandbox.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { deletePod, readPod, startPod, untilPhase, type PodName, type SeenPod } from '../support/node-pods.ts'

const cluster = await startControlPlane({ log: () => undefined })
file.teardown(() => cluster.stop())
const sandbox = await startSandbox({ cluster, log: () => undefined, logLevel: 'error' })
file.teardown(() => sandbox.stop())
await applySamples(cluster)
const node = await startNode({ cluster, log: () => undefined })
file.teardown(() => node.stop())

const NAMESPACE = 'cicd'
const FILES = ['.env', 'ca.cert', 'ca.crt', 'connector.status.proxyAddress', 'context.proxy.caCert', 'context.token', 'http.proxy', 'https.proxy']

/** A Pod of the pipeline run, which says what it finds in its volume and waits. */
const gatedPod = (name: string): Promise<SeenPod> =>
  startPod(cluster, node, {
    namespace: NAMESPACE,
    name,
    labels: { 'tekton.dev/pipelineRun': name },
    args: ['watch', '/connectors'],
    spec: {
      serviceAccountName: 'builder',
      volumes: [{ name: 'connectors', csi: { driver: CSI_DRIVER, readOnly: true, volumeAttributes: { connectors: 'connectors-shared/prod-harbor' } } }],
    },
    mounts: [{ name: 'connectors', mountPath: '/connectors' }],
  })

const saysThatItWaits = async ({ name }: PodName): Promise<boolean> => {
  const { stdout } = await cluster.kubectl(['get', 'events', '-n', NAMESPACE, '--field-selector', `involvedObject.name=${name},reason=AccessWaiting`, '-o', 'name'])
  return stdout !== ''
}

/** The approval step of the Pod's run, approved by its controller. */
const approve = async (name: string): Promise<void> => {
  const task = { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', metadata: { name, namespace: NAMESPACE, labels: { 'tekton.dev/pipelineRun': name } } }
  const path = `/apis/openshift-pipelines.org/v1alpha1/namespaces/${NAMESPACE}/approvaltasks`
  readAnswer(await cluster.call('POST', path, { ...task, spec: { approvers: [{ name: 'alice', type: 'User', input: 'pending' }], numberOfApprovalsRequired: 1 } }), `ApprovalTask ${name}`)
  const kubeconfig = await cluster.kubeconfigFor({ name: 'approvals', token: await approvalControllerToken(cluster) })
  await cluster.kubectl(['patch', 'approvaltask', name, '-n', NAMESPACE, '--subresource=status', '--type=merge', '-p', '{"status":{"state":"approved"}}'], { kubeconfig })
}

/** As many as there are to be: what it has said up to now may be a part of them. */
const seenFiles = (name: string): Promise<string[]> => {
  let seen: string[] = []
  return eventually(
    `the container of ${name} says what it sees`,
    async () => {
      const said = await node.containerLog({ namespace: NAMESPACE, name, container: 'main' })
      const lines = said.slice(0, said.lastIndexOf('\n') + 1).split('--\n').at(-1)?.split('\n') ?? []
      seen = lines.filter((line) => line !== '').map((line) => String(JSON.parse(line).path).replace('/connectors/', ''))
      return seen.length >= FILES.length ? seen : undefined
    },
    undefined,
    () => seen,
  )
}

const volumeOf = ({ metadata }: SeenPod): string => join(node.kubeletDir, 'pods', metadata.uid, 'volumes/kubernetes.io~csi/connectors/mount')

await test('a Pod waits in its mount while the plugin is killed and started again, and runs once it was approved', async (t) => {
  const plugin = await startCsiPlugin({ cluster, node })
  const pod = { namespace: NAMESPACE, name: 'plain' }
  const made = await gatedPod(pod.name)
  await untilTrue('its Event says what it waits for', () => saysThatItWaits(pod))
  await untilTrue('kubelet says that the container is being created', async () => (await readPod(cluster, pod))?.status.containerStatuses?.[0]?.state.waiting?.reason === 'ContainerCreating')
  t.match(await readPod(cluster, pod), { status: { phase: 'Pending' } })
  const before = await plugin.pid()
  await plugin.kill()
  t.equal(await plugin.pid(), undefined)
  await plugin.restart()
  t.not(await plugin.pid(), before)
  await approve(pod.name)
  await untilPhase(cluster, pod, 'Running')
  t.strictSame(await seenFiles(pod.name), FILES)
  t.strictSame((await readdir(volumeOf(made))).toSorted(), FILES, 'plain files: on the disk of the machine')
  await deletePod(cluster, pod)
  await plugin.stop()
  t.equal(node.endOf(PLUGIN), 'exit code 0')
})

await test('with --tmpfs the files are in memory, where the node alone sees them', async (t) => {
  const plugin = await startCsiPlugin({ cluster, node, more: ['--tmpfs'] })
  const pod = { namespace: NAMESPACE, name: 'memory' }
  const made = await gatedPod(pod.name)
  await approve(pod.name)
  await untilPhase(cluster, pod, 'Running')
  t.strictSame(await seenFiles(pod.name), FILES)
  t.strictSame(await readdir(volumeOf(made)), [])
  t.match(await readFile(`/proc/${await node.pidOf('kubelet')}/mounts`, 'utf8'), ` ${volumeOf(made)} tmpfs `)
  await deletePod(cluster, pod)
  t.notMatch(await readFile(`/proc/${await node.pidOf('kubelet')}/mounts`, 'utf8'), volumeOf(made))
  await plugin.stop()
})
