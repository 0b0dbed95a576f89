/** Reviews straight to the extension, beside a bare node:https server that makes the same two calls of the API server: CPU of both. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../control-plane/free-port.ts'
import type { ConnectionGround } from './extension-ground.ts'
import { interleave, ratiosOf } from './interleave.ts'
import { startLoad } from './load.ts'
import { cpuMicroseconds } from './process-figures.ts'
import { EXTENSION_NAME, frontProxyOf, RESOURCE_ATTRIBUTES, reviewOf, REVIEWS_PATH, SUBJECT_REVIEWS_PATH, USERS, WORKSPACE_PATH } from './review-calls.ts'
import type { BenchEnv, Figure, ServerProcess } from './section.ts'
import { LOOPBACK, SERVER_NAME, untilOpen, writeServingFiles } from './servers.ts'
import { spreadNote, spreadOf } from './statistics.ts'

const CALLERS = 16

interface Contestant {
  name: 'ours' | 'bare'
  port: number
  ca: string
  serverName: string
  process: ServerProcess
}

const LABELS = { ours: 'the extension', bare: 'a bare server, same API calls' } as const
const NAMES = ['ours', 'bare'] as const

const startBare = async (env: BenchEnv, { accounts }: ConnectionGround): Promise<Contestant> => {
  const port = await freePort()
  const { ca, certFile, keyFile } = await writeServingFiles(env.folder)
  const paths = { subjectReviewsPath: SUBJECT_REVIEWS_PATH, workspacePath: WORKSPACE_PATH, resourceAttributes: RESOURCE_ATTRIBUTES }
  const file = join(env.folder, 'bare-review.json')
  await writeFile(file, JSON.stringify({ port, certFile, keyFile, ...accounts.extension, ...paths }), { mode: 0o600 })
  const server = await env.start('bare-review', process.execPath, [join(import.meta.dirname, 'bare-review.ts'), file])
  await untilOpen(env, LABELS.bare, server, port)
  return { name: 'bare', port, ca, serverName: SERVER_NAME, process: server }
}

export const DIRECT_KEYS: readonly string[] = [
  ...NAMES.flatMap((name) => [`connection_review_direct_${name}_cpu_us_per_request`, `connection_review_direct_${name}_throughput_per_second`]),
  'connection_review_direct_cpu_to_bare_ratio',
]

interface Round {
  cpuUs: number
  perSecond: number
}

export const measureDirect = async (env: BenchEnv, ground: ConnectionGround): Promise<Figure[]> => {
  const { rounds, turns, warmUp } = env.quick ? { rounds: 3, turns: 1_000, warmUp: 2_000 } : { rounds: 7, turns: 3_000, warmUp: 6_000 }
  env.log(`  ${rounds} rounds of ${turns} reviews by ${CALLERS} callers, straight to the extension and to a bare server`)
  const load = startLoad(env.signal)
  env.atEnd(() => load.stop())
  const { caPem, certificate, headers } = await frontProxyOf(ground.cluster)
  const ours: Contestant = { name: 'ours', port: ground.extensionPort, ca: caPem, serverName: EXTENSION_NAME, process: ground.extension.process }
  const contestants = [ours, await startBare(env, ground)]
  const bodies = Array.from({ length: USERS }, (_, number) => JSON.stringify(reviewOf(number)))
  const step = { path: REVIEWS_PATH, bodies, headers: [{ ...headers, accept: 'application/json' }], status: 201, expect: '"allowed":true' }

  const measure = async ({ port, ca, serverName, process: server }: Contestant, count: number): Promise<Round> => {
    const before = await cpuMicroseconds(server.pid)
    const { seconds } = await load.run({ host: LOOPBACK, port, ca, certificate, serverName, connections: CALLERS, turns: count, steps: [step] })
    return { cpuUs: ((await cpuMicroseconds(server.pid)) - before) / count, perSecond: count / seconds }
  }
  for (const contestant of contestants) await measure(contestant, warmUp)
  const results = [...(await interleave(contestants, rounds, (contestant) => measure(contestant, turns)))]
  const own = results.flatMap(([{ name }, values]): Figure[] => {
    const [cpu, speeds] = [values.map(({ cpuUs }) => cpuUs), values.map(({ perSecond }) => perSecond)]
    return [
      { key: `connection_review_direct_${name}_cpu_us_per_request`, label: `review, straight to ${LABELS[name]}: CPU`, value: spreadOf(cpu).median, unit: 'us_per_request', note: spreadNote(cpu, 0) },
      { key: `connection_review_direct_${name}_throughput_per_second`, label: `review, straight to ${LABELS[name]}, ${CALLERS} callers`, value: spreadOf(speeds).median, unit: 'per_second', note: spreadNote(speeds, 0) },
    ]
  })
  const [ofOurs = [], ofBare = []] = results.map(([, values]) => values.map(({ cpuUs }) => cpuUs))
  const ratios = ratiosOf(ofOurs, ofBare)
  return [...own, { key: 'connection_review_direct_cpu_to_bare_ratio', label: 'review: CPU of the extension to the bare server', value: spreadOf(ratios).median, unit: 'ratio', note: spreadNote(ratios, 2) }]
}
