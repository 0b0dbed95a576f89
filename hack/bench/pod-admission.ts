/** CPU of the Pod hooks for one gated Pod, beside a bare server that makes the same calls of the real API server. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../control-plane/free-port.ts'
import { mutatePodReview, validatePodReview } from './admission-reviews.ts'
import { MOST_OF_BARE } from './admission.ts'
import { CONNECTOR, openGround, type Ground } from './ground.ts'
import { interleave, ratiosOf } from './interleave.ts'
import { startLoad } from './load.ts'
import type { LoadStep } from './load-protocol.ts'
import { cpuMicroseconds } from './process-figures.ts'
import type { BenchEnv, Figure, Section, ServerProcess } from './section.ts'
import { LOOPBACK, SERVER_NAME, startRole, untilOpen, webhookArgs, writeServingFiles, type ServingFiles } from './servers.ts'
import { spreadNote, spreadOf } from './statistics.ts'

/** More would wait for the API server, on few cores longer than the hook's deadline. */
const CONNECTIONS = 4
/** Below what makes the webhook count requests whose Pod was never seen: no controller runs here to see them. */
const PODS_PER_NAMESPACE = 20

interface Contestant {
  name: 'ours' | 'bare'
  port: number
  process: ServerProcess
}

interface Round {
  cpuUs: number
  perSecond: number
}

/** Pods that were never asked about before, each mutated and then validated, as the API server does. */
const newPods = (): ((count: number) => LoadStep[]) => {
  let made = 0
  return (count) => {
    const pods = Array.from({ length: count }, (_, index) => {
      const number = made + index
      return { number, namespace: `bench-${Math.floor(number / PODS_PER_NAMESPACE)}`, name: `build-pod-${number}`, connector: CONNECTOR }
    })
    made += count
    return [
      { path: '/mutate/pod', bodies: pods.map(mutatePodReview), expect: '"patch":"' },
      { path: '/validate/pod', bodies: pods.map(validatePodReview), expect: '"allowed":true}' },
    ]
  }
}

const startOurs = async (env: BenchEnv, { webhook }: Ground, files: ServingFiles): Promise<Contestant> => {
  const port = await freePort()
  const { process: server } = await startRole(env, 'ours', webhook, webhookArgs(port, files))
  return { name: 'ours', port, process: server }
}

/** The patch of an answer to /mutate/pod. */
const patchOf = (answer: string): unknown => {
  const review: { response: { patch: string } } = JSON.parse(answer)
  return JSON.parse(Buffer.from(review.response.patch, 'base64').toString('utf8'))
}

const startBare = async (env: BenchEnv, { cluster, webhook }: Ground, { certFile, keyFile }: ServingFiles, patch: unknown): Promise<Contestant> => {
  const port = await freePort()
  const settings = { port, certFile, keyFile, patch, server: cluster.server, caPem: cluster.caPem, token: webhook.token, connector: CONNECTOR }
  const file = join(env.folder, 'bare.json')
  await writeFile(file, JSON.stringify(settings), { mode: 0o600 })
  const server = await env.start('bare', process.execPath, [join(import.meta.dirname, 'bare-pod-webhook.ts'), file])
  await untilOpen(env, 'the bare server', server, port)
  return { name: 'bare', port, process: server }
}

const countRequests = async ({ cluster }: Ground): Promise<number> => {
  const { text } = await cluster.call('GET', `/apis/connectors.alauda.io/v1alpha1/namespaces/${CONNECTOR.namespace}/accessrequests?limit=1`)
  const list: { items: unknown[]; metadata: { remainingItemCount?: number } } = JSON.parse(text)
  return list.items.length + (list.metadata.remainingItemCount ?? 0)
}

const run = async (env: BenchEnv): Promise<Figure[]> => {
  const { rounds, turns, warmUp } = env.quick ? { rounds: 3, turns: 200, warmUp: 500 } : { rounds: 7, turns: 300, warmUp: 1_200 }
  const ground = await openGround(env)
  const files = await writeServingFiles(env.folder)
  const load = startLoad(env.signal)
  env.atEnd(() => load.stop())
  const pods = newPods()
  let asked = 0

  const measure = async ({ port, process: server }: Contestant, count: number): Promise<Round & { lastBodies: string[] }> => {
    const steps = pods(count)
    const before = await cpuMicroseconds(server.pid)
    const { seconds, lastBodies } = await load.run({ host: LOOPBACK, port, ca: files.ca, serverName: SERVER_NAME, connections: CONNECTIONS, turns: count, steps })
    asked += count
    return { cpuUs: ((await cpuMicroseconds(server.pid)) - before) / count, perSecond: count / seconds, lastBodies }
  }

  const ours = await startOurs(env, ground, files)
  const { lastBodies } = await measure(ours, warmUp)
  const bare = await startBare(env, ground, files, patchOf(lastBodies[0] ?? ''))
  await measure(bare, warmUp)
  env.log(`  ${rounds} rounds of ${turns} Pods each`)
  const results = await interleave([ours, bare], rounds, (contestant) => measure(contestant, turns))
  const made = await countRequests(ground)
  if (made !== asked) throw new Error(`${asked} Pods were asked about and ${made} requests were made: what was measured is not the whole work`)

  const roundsOf = (contestant: Contestant): Round[] => results.get(contestant) ?? []
  const cpuOf = (contestant: Contestant): number[] => roundsOf(contestant).map(({ cpuUs }) => cpuUs)
  const own = [ours, bare].flatMap((contestant): Figure[] => {
    const label = contestant.name === 'ours' ? 'ours' : 'bare server, same API calls'
    const speeds = roundsOf(contestant).map(({ perSecond }) => perSecond)
    const cpu = cpuOf(contestant)
    return [
      { key: `admission_pod_${contestant.name}_cpu_us_per_pod`, label: `${label}: CPU of both hooks`, value: spreadOf(cpu).median, unit: 'us_per_pod', note: spreadNote(cpu, 0) },
      { key: `admission_pod_${contestant.name}_throughput_per_second`, label: `${label}: Pods`, value: spreadOf(speeds).median, unit: 'per_second', note: spreadNote(speeds, 0) },
    ]
  })
  const ratios = ratiosOf(cpuOf(ours), cpuOf(bare))
  const ratio = { key: 'admission_pod_cpu_to_bare_ratio', label: 'CPU of ours to the bare server', value: spreadOf(ratios).median, unit: 'ratio', goal: { atMost: MOST_OF_BARE }, note: spreadNote(ratios, 2) }
  return [...own, ratio]
}

export const POD_ADMISSION: Section = {
  name: 'pod-admission',
  title: `Admission of a gated Pod (mutate and validate), ${CONNECTIONS} kept connections, real API server behind: ours, and a bare server that makes the same calls`,
  keys: [
    ...['ours', 'bare'].flatMap((name) => [`admission_pod_${name}_cpu_us_per_pod`, `admission_pod_${name}_throughput_per_second`]),
    'admission_pod_cpu_to_bare_ratio',
  ],
  run,
}
