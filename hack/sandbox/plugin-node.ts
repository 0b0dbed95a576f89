/** The node of the sandbox: kubelet and containerd, with the CSI plugin on it. */
import { startNode, type NodeOptions, type RunningNode } from '../node/start.ts'
import { PLUGIN, startCsiPlugin } from './csi-plugin.ts'

/** The shipped manifests are applied. The node is stopped when the plugin does not come up. @throws the signal's reason when that ended it */
export const startPluginNode = async (options: NodeOptions & { signal: AbortSignal; logLevel?: 'info' | 'warn' }): Promise<RunningNode> => {
  const { cluster, log, signal, logLevel = 'warn' } = options
  const node = await startNode(options)
  try {
    const plugin = await startCsiPlugin({ cluster, node, logLevel })
    log(`CSI plugin up, metrics on http://127.0.0.1:${plugin.metricsPort}/metrics, log: ${node.logFile(PLUGIN)}`)
    return node
  } catch (error) {
    await node.stop()
    // What was in progress failed because it was stopped.
    signal.throwIfAborted()
    throw error
  }
}
