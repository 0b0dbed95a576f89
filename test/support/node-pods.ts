/** Pods on a node of ours, with the one image that it has. */
import type { ClusterAccess } from '../../hack/control-plane/cluster-access.ts'
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import type { RunningNode } from '../../hack/node/start.ts'
import { eventually } from './eventually.ts'

export interface PodName {
  namespace: string
  name: string
}

export interface PodFacts extends PodName {
  labels?: Record<string, string>
  /** Of the workload in the image: hack/node/go/workload. */
  args: string[]
  /** More of the Pod's spec; its containers get the mounts. */
  spec?: object
  mounts?: readonly { name: string; mountPath: string }[]
}

interface ContainerState {
  waiting?: { reason: string; message?: string }
  running?: object
  terminated?: { exitCode: number; reason: string; message?: string }
}

export interface SeenPod {
  metadata: { uid: string; deletionTimestamp?: string }
  status: { phase: string; containerStatuses?: { containerID?: string; state: ContainerState }[] }
}

type Node = Pick<RunningNode, 'nodeName' | 'image'>

/** One container called `main`, never started again, on the machine's network. */
export const podObject = ({ nodeName, image }: Node, { namespace, name, labels = {}, args, spec = {}, mounts = [] }: PodFacts): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace, name, labels },
  spec: {
    nodeName,
    hostNetwork: true,
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 5,
    tolerations: [{ operator: 'Exists' }],
    containers: [{ name: 'main', image, imagePullPolicy: 'Never', args, volumeMounts: mounts }],
    ...spec,
  },
})

const pathOf = ({ namespace, name }: PodName): string => `/api/v1/namespaces/${namespace}/pods/${name}`

export const startPod = async (cluster: ClusterAccess, node: Node, facts: PodFacts): Promise<SeenPod> => {
  const answer = await cluster.call('POST', `/api/v1/namespaces/${facts.namespace}/pods`, podObject(node, facts))
  const made: SeenPod = JSON.parse(readAnswer(answer, `Pod ${facts.name}`))
  return made
}

/** undefined when it is gone. */
export const readPod = async (cluster: ClusterAccess, pod: PodName): Promise<SeenPod | undefined> => {
  const answer = await cluster.call('GET', pathOf(pod))
  if (answer.status === 404) return undefined
  const seen: SeenPod = JSON.parse(readAnswer(answer, `Pod ${pod.name}`))
  return seen
}

export const untilPhase = async (cluster: ClusterAccess, pod: PodName, phase: string, boundMs = 90_000): Promise<SeenPod> => {
  let last: SeenPod | undefined
  return eventually(
    `the Pod ${pod.name} is ${phase}`,
    async () => {
      last = await readPod(cluster, pod)
      return last?.status.phase === phase ? last : undefined
    },
    boundMs,
    () => last?.status,
  )
}

/** Why it ended: exit code and termination message. */
export const terminated = (pod: SeenPod): ContainerState['terminated'] => pod.status.containerStatuses?.[0]?.state.terminated

/** Deletes it and waits until kubelet has let it go. */
export const deletePod = async (cluster: ClusterAccess, pod: PodName, boundMs = 90_000): Promise<void> => {
  await cluster.call('DELETE', pathOf(pod))
  await eventually(`the Pod ${pod.name} is gone`, async () => ((await readPod(cluster, pod)) === undefined ? true : undefined), boundMs)
}
