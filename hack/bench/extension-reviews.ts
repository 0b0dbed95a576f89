/** What a ConnectionAccessReview costs, beside the two calls that it makes: one SubjectAccessReview and one read of the Workspace. */
import { timedClient, timedClientOf, type TimedAnswer, type TimedClient } from './api-client.ts'
import { WORKSPACE, type ConnectionGround } from './extension-ground.ts'
import { interleave, ratiosOf } from './interleave.ts'
import { startLoad } from './load.ts'
import type { LoadStep } from './load-protocol.ts'
import { cpuMicroseconds } from './process-figures.ts'
import { EXTENSION_NAME, frontProxyOf, reviewOf, REVIEWS_PATH, SUBJECT_REVIEWS_PATH, subjectReviewOf, USERS, WORKSPACE_PATH } from './review-calls.ts'
import type { BenchEnv, Figure } from './section.ts'
import { LOOPBACK } from './servers.ts'
import { median, spreadNote, spreadOf } from './statistics.ts'

const CALLERS = 16
export const REVIEW_GOALS = { addedMs: 1.5, cpuUs: 800, perSecond: 500 } as const

const CALLS = ['subject_review', 'workspace_get', 'review', 'review_direct', 'review_of_new_user'] as const
type CallName = (typeof CALLS)[number]

const LABELS: Readonly<Record<CallName, string>> = {
  subject_review: 'SubjectAccessReview',
  workspace_get: 'GET of the Workspace',
  review: 'ConnectionAccessReview, through the API server',
  review_direct: 'ConnectionAccessReview, straight to the extension',
  review_of_new_user: 'ConnectionAccessReview of a user never asked about, through the API server',
}

interface Caller {
  ask(name: CallName, number: number): Promise<number>
  close(): void
}

/** Calls one after the other, each by a connection that is kept, with the account that makes them in a cluster. */
const openCaller = async ({ cluster, accounts, extensionPort }: ConnectionGround): Promise<Caller> => {
  const asExtension = timedClient(accounts.extension)
  const asAuth = timedClient(accounts.auth)
  const direct = timedClientOf({ server: `https://${LOOPBACK}:${extensionPort}`, serverName: EXTENSION_NAME, ...(await frontProxyOf(cluster)) })
  const clients: readonly TimedClient[] = [asExtension, asAuth, direct]
  let newUsers = USERS
  const send = (name: CallName, number: number): Promise<TimedAnswer> => {
    if (name === 'subject_review') return asExtension.call('POST', SUBJECT_REVIEWS_PATH, subjectReviewOf(number))
    if (name === 'workspace_get') return asExtension.call('GET', WORKSPACE_PATH)
    if (name === 'review_of_new_user') newUsers += 1
    return (name === 'review_direct' ? direct : asAuth).call('POST', REVIEWS_PATH, reviewOf(name === 'review_of_new_user' ? newUsers : number))
  }
  return {
    ask: async (name, number) => {
      const { status, text, ms } = await send(name, number)
      const isGood = name === 'workspace_get' ? status === 200 : status === 201 && text.includes('"allowed":true')
      if (!isGood) throw new Error(`${LABELS[name]} was answered with ${status}: ${text.slice(0, 500)}`)
      return ms
    },
    close: () => {
      for (const client of clients) client.close()
    },
  }
}

type Latencies = Record<CallName, number[]>

/** Medians of one round, in which the calls take turns. */
const measureRound = async (caller: Caller, turns: number): Promise<Record<CallName, number>> => {
  const times: Latencies = { subject_review: [], workspace_get: [], review: [], review_direct: [], review_of_new_user: [] }
  await interleave(CALLS, turns, async (name, turn) => times[name].push(await caller.ask(name, turn % USERS)))
  const { subject_review: subject, workspace_get: get, review, review_direct: direct, review_of_new_user: first } = times
  return { subject_review: median(subject), workspace_get: median(get), review: median(review), review_direct: median(direct), review_of_new_user: median(first) }
}

const latencyFigures = async (env: BenchEnv, ground: ConnectionGround): Promise<Figure[]> => {
  const { rounds, turns, warmUp } = env.quick ? { rounds: 3, turns: 150, warmUp: 150 } : { rounds: 9, turns: 300, warmUp: 600 }
  env.log(`  ${rounds} rounds of ${turns} reviews, one after the other, each beside the two calls that it makes`)
  const caller = await openCaller(ground)
  env.atEnd(() => caller.close())
  await measureRound(caller, warmUp)
  const medians: Record<CallName, number>[] = []
  for (let round = 0; round < rounds; round += 1) {
    env.signal.throwIfAborted()
    medians.push(await measureRound(caller, turns))
  }
  const added = medians.map(({ review, subject_review: subject, workspace_get: get }) => review - subject - get)
  const addedFirst = medians.map(({ review_of_new_user: review, subject_review: subject, workspace_get: get }) => review - subject - get)
  return [
    ...CALLS.map((name): Figure => {
      const values = medians.map((one) => one[name])
      return { key: `connection_${name}_p50_ms`, label: `${LABELS[name]}: p50`, value: spreadOf(values).median, unit: 'ms', note: spreadNote(values, 2) }
    }),
    { key: 'connection_review_added_p50_ms', label: 'review beyond its two calls', value: spreadOf(added).median, unit: 'ms', goal: { atMost: REVIEW_GOALS.addedMs }, note: spreadNote(added, 2) },
    { key: 'connection_review_of_new_user_added_p50_ms', label: 'of a user never asked about, beyond its two calls', value: spreadOf(addedFirst).median, unit: 'ms', note: spreadNote(addedFirst, 2) },
  ]
}

interface Round {
  cpuUs: number
  perSecond: number
}

const headersOf = (token: string): Record<string, string>[] => [{ Authorization: `Bearer ${token}`, Accept: 'application/json' }]

const throughputFigures = async (env: BenchEnv, { cluster, accounts, extension }: ConnectionGround): Promise<Figure[]> => {
  const { rounds, turns, warmUp } = env.quick ? { rounds: 3, turns: 1_000, warmUp: 2_000 } : { rounds: 7, turns: 3_000, warmUp: 6_000 }
  env.log(`  ${rounds} rounds of ${turns} reviews by ${CALLERS} callers, and as many pairs of the two calls`)
  const load = startLoad(env.signal)
  env.atEnd(() => load.stop())
  const { hostname, port } = new URL(cluster.server)
  const job = { host: hostname, port: Number(port), ca: cluster.caPem, serverName: 'localhost', connections: CALLERS }
  const numbers = Array.from({ length: USERS }, (_, number) => number)
  const review: LoadStep = { path: REVIEWS_PATH, bodies: numbers.map((number) => JSON.stringify(reviewOf(number))), headers: headersOf(accounts.auth.token), status: 201, expect: '"allowed":true' }
  const subject: LoadStep = { path: SUBJECT_REVIEWS_PATH, bodies: numbers.map((number) => JSON.stringify(subjectReviewOf(number))), headers: headersOf(accounts.extension.token), status: 201, expect: '"allowed":true' }
  const get: LoadStep = { path: WORKSPACE_PATH, bodies: [''], headers: headersOf(accounts.extension.token), expect: WORKSPACE }

  const measure = async (steps: readonly LoadStep[], count: number): Promise<Round> => {
    const before = await cpuMicroseconds(extension.process.pid)
    const { seconds } = await load.run({ ...job, turns: count, steps })
    return { cpuUs: ((await cpuMicroseconds(extension.process.pid)) - before) / count, perSecond: count / seconds }
  }
  const [reviews, calls] = [[review], [subject, get]]
  for (const steps of [reviews, calls]) await measure(steps, warmUp)
  const results = await interleave([reviews, calls], rounds, (steps) => measure(steps, turns))
  const ofReviews = results.get(reviews) ?? []
  const cpu = ofReviews.map(({ cpuUs }) => cpuUs)
  const speeds = ofReviews.map(({ perSecond }) => perSecond)
  const pairs = (results.get(calls) ?? []).map(({ perSecond }) => perSecond)
  const parts = ratiosOf(speeds, pairs)
  return [
    { key: 'connection_review_cpu_us_per_request', label: `review, ${CALLERS} callers: CPU of the extension`, value: spreadOf(cpu).median, unit: 'us_per_request', goal: { atMost: REVIEW_GOALS.cpuUs }, note: spreadNote(cpu, 0) },
    { key: 'connection_review_throughput_per_second', label: `reviews, ${CALLERS} callers, through the API server`, value: spreadOf(speeds).median, unit: 'per_second', goal: { atLeast: REVIEW_GOALS.perSecond }, note: spreadNote(speeds, 0) },
    { key: 'connection_two_calls_throughput_per_second', label: `the two calls alone, ${CALLERS} callers: pairs`, value: spreadOf(pairs).median, unit: 'per_second', note: spreadNote(pairs, 0) },
    { key: 'connection_review_to_two_calls_throughput_ratio', label: 'reviews to such pairs, a second', value: spreadOf(parts).median, unit: 'ratio', note: spreadNote(parts, 2) },
  ]
}

export const REVIEW_KEYS: readonly string[] = [
  ...CALLS.map((name) => `connection_${name}_p50_ms`),
  'connection_review_added_p50_ms',
  'connection_review_of_new_user_added_p50_ms',
  'connection_review_cpu_us_per_request',
  'connection_review_throughput_per_second',
  'connection_two_calls_throughput_per_second',
  'connection_review_to_two_calls_throughput_ratio',
]

export const measureReviews = async (env: BenchEnv, ground: ConnectionGround): Promise<Figure[]> => [...(await latencyFigures(env, ground)), ...(await throughputFigures(env, ground))]
