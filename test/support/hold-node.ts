/** A process to be killed: starts a control plane and a node with one running Pod, says its process ids and folder, and stays until SIGINT. */
import { dirname } from 'node:path'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { startNode } from '../../hack/node/start.ts'
import { startPod, untilPhase } from './node-pods.ts'

const cluster = await startControlPlane({ log: () => undefined })
const node = await startNode({ cluster, log: () => undefined })
const namespace = await cluster.namespace('held')
await startPod(cluster, node, { namespace, name: 'stays', args: ['pause'] })
await untilPhase(cluster, { namespace, name: 'stays' }, 'Running')
const pids = [await node.pidOf('kubelet'), await node.pidOf('containerd')]
const keepAlive = setInterval(() => undefined, 60_000)
const end = async (): Promise<void> => {
  clearInterval(keepAlive)
  await node.stop()
  await cluster.stop()
}
process.once('SIGINT', () => void end())
// Last: whoever reads it may send the signal at once.
process.stdout.write(`${JSON.stringify({ folder: dirname(node.kubeletDir), pids, first: node.pid })}\n`)
