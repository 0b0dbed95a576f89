/** CPU and throughput of AccessRequest admission: ours, the least that Node can do, and Go with controller-runtime. */
import { join } from 'node:path'
import jsonPatch from 'fast-json-patch'
import { isRecord } from '../../src/core/json-shape.ts'
import { freePort } from '../control-plane/free-port.ts'
import { goProgram } from '../go-programs/go-program.ts'
import { fullRequestReview, sparseRequestReview, updateReview } from './admission-reviews.ts'
import { interleave, ratiosOf } from './interleave.ts'
import { startLoad, type Load } from './load.ts'
import type { LoadStep } from './load-protocol.ts'
import { cpuMicroseconds } from './process-figures.ts'
import type { BenchEnv, Figure, Section, ServerProcess } from './section.ts'
import { LOOPBACK, SERVER_NAME, startRole, untilOpen, webhookArgs, writeServingFiles, type ServingFiles } from './servers.ts'
import { spreadNote, spreadOf } from './statistics.ts'

const CONNECTIONS = 16
/** Bodies that differ, sent round and round. */
const BODIES = 64
export const MOST_OF_BARE = 1.25
export const MOST_OF_GO = 0.6

interface Kind {
  /** In the keys. */
  key: string
  label: string
  step: LoadStep
}

const KINDS: readonly Kind[] = [
  { key: 'validate_create', label: 'validate CREATE', path: '/validate/access-request', expect: '"allowed":true', review: fullRequestReview },
  { key: 'validate_update', label: 'validate UPDATE', path: '/validate/access-request', expect: '"allowed":true', review: updateReview },
  { key: 'mutate', label: 'mutate CREATE', path: '/mutate/access-request', expect: '"patch":"', review: sparseRequestReview },
].map(({ key, label, path, expect, review }) => ({ key, label, step: { path, expect, bodies: Array.from({ length: BODIES }, (_, number) => review(number)) } }))

const NAMES = { ours: 'ours', bare: 'bare node:https', go: 'controller-runtime' } as const
type Name = keyof typeof NAMES
const ORDER: readonly Name[] = ['ours', 'bare', 'go']

interface Contestant {
  name: Name
  port: number
  process: ServerProcess
}

interface Round {
  cpuUs: number
  perSecond: number
}

const startOurs = async (env: BenchEnv, files: ServingFiles): Promise<Contestant> => {
  // These hooks decide by what they are sent: there is no API server, and none is called.
  const nobody = { server: `https://${LOOPBACK}:${await freePort()}`, caPem: files.ca, token: 'none' }
  const port = await freePort()
  const { process: server } = await startRole(env, 'ours', nobody, webhookArgs(port, files))
  return { name: 'ours', port, process: server }
}

const startGo = async (env: BenchEnv, files: ServingFiles): Promise<Contestant> => {
  const program = await goProgram({ name: 'go-webhook', moduleFolder: join(import.meta.dirname, 'go-webhook') }, { signal: env.signal })
  const port = await freePort()
  const server = await env.start('go', program, [`--host=${LOOPBACK}`, `--port=${port}`, `--cert-dir=${files.folder}`])
  await untilOpen(env, NAMES.go, server, port)
  return { name: 'go', port, process: server }
}

const startBare = async (env: BenchEnv, files: ServingFiles, patch: string): Promise<Contestant> => {
  const port = await freePort()
  const server = await env.start('bare', process.execPath, [join(import.meta.dirname, 'bare-webhook.ts'), String(port), files.certFile, files.keyFile, patch])
  await untilOpen(env, NAMES.bare, server, port)
  return { name: 'bare', port, process: server }
}

const field = (value: unknown, name: string): unknown => (isRecord(value) ? value[name] : undefined)

/** The patch of an answer, as text. */
const patchOf = (answer: string): string => {
  const patch = field(field(JSON.parse(answer), 'response'), 'patch')
  if (typeof patch !== 'string') throw new Error(`there is no patch in the answer: ${answer.slice(0, 300)}`)
  return Buffer.from(patch, 'base64').toString('utf8')
}

/** What the object of a review becomes by an answer, with keys in order; an empty field is as good as none. */
const patchedObject = (review: string, answer: string): string => {
  const object: unknown = field(field(JSON.parse(review), 'request'), 'object')
  const patch: Parameters<typeof jsonPatch.applyPatch>[1] = JSON.parse(patchOf(answer))
  const inOrder = (value: unknown): unknown =>
    isRecord(value) ? Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null).toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, inOrder(inner)])) : value
  return JSON.stringify(inOrder(jsonPatch.applyPatch(object, patch).newDocument))
}

/** The answer to the last of the bodies. */
const answerOf = async (load: Load, { port }: Contestant, files: ServingFiles, { step }: Kind): Promise<string> => {
  const { lastBodies } = await load.run({ host: LOOPBACK, port, ca: files.ca, serverName: SERVER_NAME, connections: CONNECTIONS, turns: BODIES, steps: [step] })
  return lastBodies[0] ?? ''
}

/** A comparison is fair when both do the same. @throws Error when they do not */
const checkSameWork = (kind: Kind, ours: string, theirs: string): void => {
  const review = kind.step.bodies.at(-1) ?? ''
  if (patchedObject(review, ours) !== patchedObject(review, theirs)) throw new Error(`the patches differ, so the comparison would not be fair: ours ${patchOf(ours)}; controller-runtime ${patchOf(theirs)}`)
}

const keysOf = (kind: string): string[] => [
  ...ORDER.flatMap((name) => [`admission_${kind}_${name}_cpu_us_per_request`, `admission_${kind}_${name}_throughput_per_second`]),
  `admission_${kind}_cpu_to_bare_ratio`,
  `admission_${kind}_cpu_to_go_ratio`,
]

const figuresOf = ({ key, label }: Kind, rounds: ReadonlyMap<Name, readonly Round[]>): Figure[] => {
  const cpuOf = (name: Name): number[] => (rounds.get(name) ?? []).map(({ cpuUs }) => cpuUs)
  const own = ORDER.flatMap((name): Figure[] => {
    const speeds = (rounds.get(name) ?? []).map(({ perSecond }) => perSecond)
    return [
      { key: `admission_${key}_${name}_cpu_us_per_request`, label: `${label}, ${NAMES[name]}: CPU`, value: spreadOf(cpuOf(name)).median, unit: 'us_per_request', note: spreadNote(cpuOf(name), 0) },
      { key: `admission_${key}_${name}_throughput_per_second`, label: `${label}, ${NAMES[name]}: throughput`, value: spreadOf(speeds).median, unit: 'per_second', note: spreadNote(speeds, 0) },
    ]
  })
  const ratio = (name: 'bare' | 'go', atMost: number): Figure => {
    const ratios = ratiosOf(cpuOf('ours'), cpuOf(name))
    return { key: `admission_${key}_cpu_to_${name}_ratio`, label: `${label}: CPU of ours to ${NAMES[name]}`, value: spreadOf(ratios).median, unit: 'ratio', goal: { atMost }, note: spreadNote(ratios, 2) }
  }
  return [...own, ratio('bare', MOST_OF_BARE), ratio('go', MOST_OF_GO)]
}

const run = async (env: BenchEnv): Promise<Figure[]> => {
  const { rounds, turns, warmUp } = env.quick ? { rounds: 3, turns: 2_000, warmUp: 4_000 } : { rounds: 9, turns: 3_000, warmUp: 8_000 }
  const files = await writeServingFiles(env.folder)
  const load = startLoad(env.signal)
  env.atEnd(() => load.stop())
  const mutate = KINDS.find(({ key }) => key === 'mutate')
  if (mutate === undefined) throw new Error('there is no kind of request to mutate')
  const [ours, go] = await Promise.all([startOurs(env, files), startGo(env, files)])
  const [answer, theirs] = [await answerOf(load, ours, files, mutate), await answerOf(load, go, files, mutate)]
  checkSameWork(mutate, answer, theirs)
  const contestants = [ours, await startBare(env, files, patchOf(answer)), go]

  const measure = async ({ step }: Kind, contestant: Contestant, count: number): Promise<Round> => {
    const before = await cpuMicroseconds(contestant.process.pid)
    const job = { host: LOOPBACK, port: contestant.port, ca: files.ca, serverName: SERVER_NAME, connections: CONNECTIONS, turns: count, steps: [step] }
    const { seconds, requests } = await load.run(job)
    return { cpuUs: ((await cpuMicroseconds(contestant.process.pid)) - before) / requests, perSecond: requests / seconds }
  }

  const figures: Figure[] = []
  for (const kind of KINDS) {
    env.log(`  ${kind.label}: ${rounds} rounds of ${turns} requests each`)
    for (const contestant of contestants) await measure(kind, contestant, warmUp)
    const results = await interleave(contestants, rounds, (contestant) => measure(kind, contestant, turns))
    figures.push(...figuresOf(kind, new Map([...results].map(([{ name }, values]) => [name, values]))))
  }
  return figures
}

export const ADMISSION: Section = {
  name: 'admission',
  title: `AccessRequest admission, ${CONNECTIONS} kept TLS connections: ours with everything on, bare node:https, Go controller-runtime`,
  keys: KINDS.flatMap(({ key }) => keysOf(key)),
  run,
}
