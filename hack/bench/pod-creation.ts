/** How long it takes to create a Pod: without any webhook, with ours installed, with our volume; and what the last consists of. */
import { setTimeout as delay } from 'node:timers/promises'
import { CSI_DRIVER, GROUP, LABEL, VERSION } from '../../src/api/names.ts'
import { permissionQuestions, podIdentity } from '../../src/core/gate.ts'
import { buildRequest } from '../../src/core/request-identity.ts'
import { timedClient, type TimedAnswer, type TimedClient } from './api-client.ts'
import { uidOf } from './admission-reviews.ts'
import { CONNECTOR, openGround, type Ground } from './ground.ts'
import type { BenchEnv, Figure, Section } from './section.ts'
import { median, medianInterval, spreadNote, spreadOf } from './statistics.ts'

const MOST_OF_PARTS = 1.25
/** Below what makes the webhook count requests whose Pod was never seen: no controller runs here to see them. */
const GATED_PER_NAMESPACE = 20
const SWITCH_MS = 30_000
const CONFIGURATIONS = ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'].map((plural) => `/apis/admissionregistration.k8s.io/v1/${plural}`)

const expectStatus = (answer: TimedAnswer, status: number, what: string): TimedAnswer => {
  if (answer.status !== status) throw new Error(`${what}: the API server answered ${answer.status}: ${answer.text.slice(0, 300)}`)
  return answer
}

/** Both of a size: the one mounts our volume, the other that of another driver. */
const podBody = (name: string, gated: boolean, serviceAccountName = 'builder'): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { 'tekton.dev/pipelineRun': name } },
  spec: {
    serviceAccountName,
    containers: [{ name: 'build', image: 'registry.example/build:1' }],
    volumes: [{ name: 'harbor', csi: { driver: gated ? CSI_DRIVER : 'another-driver', readOnly: true, volumeAttributes: { connectors: `${CONNECTOR.namespace}/${CONNECTOR.name}` } } }],
  },
})

/** What one client does, one call after the other, and how many milliseconds each took. */
interface Acts {
  ungated: () => Promise<number>
  gated: () => Promise<number>
  /** The questions of the hook, all at once. */
  reviews: () => Promise<number>
  /** One request, as the hook makes it. */
  request: () => Promise<number>
}

const createActs = (admin: TimedClient, asWebhook: TimedClient): Acts => {
  let made = 0
  let gatedMade = 0
  let namespaces = 0
  let namespace = ''
  const podsPath = (): string => `/api/v1/namespaces/${namespace}/pods`

  const newNamespace = async (): Promise<void> => {
    namespace = `bench-${namespaces}`
    namespaces += 1
    expectStatus(await admin.call('POST', '/api/v1/namespaces', { metadata: { name: namespace } }), 201, `namespace ${namespace}`)
    expectStatus(await admin.call('POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: 'builder' } }), 201, 'ServiceAccount builder')
  }

  const createPod = async (gated: boolean): Promise<number> => {
    if (namespace === '' || (gated && gatedMade >= namespaces * GATED_PER_NAMESPACE)) await newNamespace()
    if (gated) gatedMade += 1
    made += 1
    const { ms, text } = expectStatus(await admin.call('POST', podsPath(), podBody(`pod-${made}`, gated)), 201, 'creation of a Pod')
    if (text.includes(LABEL.gated) !== gated) throw new Error(`a Pod ${gated ? 'with' : 'without'} our volume ${gated ? 'was not' : 'was'} changed by our hook`)
    return ms
  }

  return {
    ungated: () => createPod(false),
    gated: () => createPod(true),
    reviews: async () => {
      const pod = { namespace, name: `asked-${(made += 1)}` }
      const identity = podIdentity(namespace, 'builder')
      const start = performance.now()
      const answers = await Promise.all(
        Object.values(permissionQuestions(CONNECTOR, pod)).map((resourceAttributes) =>
          asWebhook.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
            apiVersion: 'authorization.k8s.io/v1',
            kind: 'SubjectAccessReview',
            spec: { ...identity, resourceAttributes },
          }),
        ),
      )
      const ms = performance.now() - start
      for (const answer of answers) expectStatus(answer, 201, 'a SubjectAccessReview')
      return ms
    },
    request: async () => {
      made += 1
      const pod = { namespace, name: `requested-${made}`, uid: uidOf(7, made) }
      const request = buildRequest({ connector: CONNECTOR, pod, serviceAccount: 'builder' }, 'admin')
      const path = `/apis/${GROUP}/${VERSION}/namespaces/${CONNECTOR.namespace}/accessrequests`
      return expectStatus(await asWebhook.call('POST', path, request), 201, 'creation of an AccessRequest').ms
    },
  }
}

/** Takes the webhook configurations away and puts them back, each time until the API server does as they say. */
const createSwitch = async (admin: TimedClient, signal: AbortSignal) => {
  const kept: { path: string; object: { metadata: { name: string; labels?: object; annotations?: object }; webhooks: unknown[] } }[] = []
  for (const path of CONFIGURATIONS) kept.push({ path, object: JSON.parse(expectStatus(await admin.call('GET', `${path}/access-gate`), 200, path).text) })

  /** Dry runs: of a Pod with our volume, which the mutating hook labels; of a wrong request, in which the validating hook names what is wrong. */
  const isOn = async (): Promise<{ mutating: boolean; validating: boolean }> => {
    const pod = await admin.call('POST', '/api/v1/namespaces/default/pods?dryRun=All', podBody('is-it-on', true, 'default'))
    const request = await admin.call('POST', `/apis/${GROUP}/${VERSION}/namespaces/default/accessrequests?dryRun=All`, {
      apiVersion: `${GROUP}/${VERSION}`,
      kind: 'AccessRequest',
      metadata: { name: 'is-it-on' },
      spec: { subject: { kind: 'User', name: 'nobody', namespace: 'default' }, connectorRef: { name: 'none' }, context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'none', namespace: 'default' } } },
    })
    return { mutating: expectStatus(pod, 201, 'a dry run of a Pod').text.includes(LABEL.gated), validating: request.status === 422 && request.text.includes('spec.subject.kind') }
  }

  const until = async (on: boolean): Promise<void> => {
    const end = performance.now() + SWITCH_MS
    for (;;) {
      signal.throwIfAborted()
      const { mutating, validating } = await isOn()
      if (mutating === on && validating === on) return
      if (performance.now() > end) throw new Error(`the API server did not ${on ? 'take up' : 'give up'} the webhooks within ${SWITCH_MS / 1000} s`)
      await delay(20)
    }
  }

  return {
    off: async () => {
      for (const { path } of kept) expectStatus(await admin.call('DELETE', `${path}/access-gate`), 200, 'removal of the webhook configuration')
      await until(false)
    },
    on: async () => {
      for (const { path, object } of kept) {
        const { name, labels, annotations } = object.metadata
        const metadata = { name, ...(labels === undefined ? {} : { labels }), ...(annotations === undefined ? {} : { annotations }) }
        expectStatus(await admin.call('POST', path, { ...object, metadata }), 201, 'return of the webhook configuration')
      }
      await until(true)
    },
  }
}

const times = async (count: number, act: () => Promise<number>): Promise<number[]> => {
  const values: number[] = []
  for (let done = 0; done < count; done += 1) values.push(await act())
  return values
}

/** Medians of one round, milliseconds. */
interface Round {
  withoutWebhooks: number
  /** As many Pods in a row as without webhooks. */
  ungated: number
  /** The rest took turns: one ungated Pod, one gated, one round of reviews, one request. */
  ungatedInTurn: number
  gated: number
  reviews: number
  request: number
}

const measureInTurn = async (acts: Acts, count: number): Promise<Pick<Round, 'ungatedInTurn' | 'gated' | 'reviews' | 'request'>> => {
  const values: Record<'ungatedInTurn' | 'gated' | 'reviews' | 'request', number[]> = { ungatedInTurn: [], gated: [], reviews: [], request: [] }
  for (let done = 0; done < count; done += 1) {
    values.ungatedInTurn.push(await acts.ungated())
    values.gated.push(await acts.gated())
    values.reviews.push(await acts.reviews())
    values.request.push(await acts.request())
  }
  return { ungatedInTurn: median(values.ungatedInTurn), gated: median(values.gated), reviews: median(values.reviews), request: median(values.request) }
}

const measureRounds = async (env: BenchEnv, acts: Acts, webhooks: { on: () => Promise<void>; off: () => Promise<void> }, rounds: number, count: number): Promise<Round[]> => {
  /** After each switch the API server makes things anew that it keeps. */
  const warm = count
  const results: Round[] = []
  let isOn = true
  const turn = async (on: boolean): Promise<void> => {
    if (on !== isOn) await (on ? webhooks.on() : webhooks.off())
    isOn = on
    await times(warm, acts.ungated)
  }
  for (let round = 0; round < rounds; round += 1) {
    env.signal.throwIfAborted()
    let withoutWebhooks = 0
    let withThem: Omit<Round, 'withoutWebhooks'> | undefined
    // Every other round the other way round: what drifts hits both alike.
    for (const on of round % 2 === 0 ? [true, false] : [false, true]) {
      await turn(on)
      const ungated = median(await times(count, acts.ungated))
      if (on) withThem = { ungated, ...(await measureInTurn(acts, count)) }
      else withoutWebhooks = ungated
    }
    if (withThem === undefined) throw new Error('a round measured nothing')
    results.push({ withoutWebhooks, ...withThem })
  }
  return results
}

const medianFigure = (key: string, label: string, values: readonly number[]): Figure => ({ key: `${key}_median_ms`, label, value: spreadOf(values).median, unit: 'ms', note: spreadNote(values, 1) })

const figuresOf = (rounds: readonly Round[]): Figure[] => {
  const costs = rounds.map(({ ungated, withoutWebhooks }) => ungated - withoutWebhooks)
  const { low, high } = medianInterval(costs)
  const ratios = rounds.map(({ gated, ungatedInTurn, reviews, request }) => gated / (ungatedInTurn + reviews + request))
  return [
    medianFigure('pod_create_without_webhooks', 'Pod, no webhook configured', rounds.map(({ withoutWebhooks }) => withoutWebhooks)),
    medianFigure('pod_create_ungated', 'Pod without our volume, our webhooks configured', rounds.map(({ ungated }) => ungated)),
    { key: 'pod_create_ungated_cost_ms', label: 'what our webhooks add to it', value: spreadOf(costs).median, unit: 'ms', note: spreadNote(costs, 2) },
    {
      key: 'pod_create_ungated_cost_low_ms',
      label: 'that is at least (95 %)',
      value: low,
      unit: 'ms',
      goal: { atMost: 0 },
      note: `at most ${high.toFixed(2)}; nothing measurable: it may as well be nothing`,
    },
    { key: 'pod_create_ungated_cost_high_ms', label: 'and at most (95 %)', value: high, unit: 'ms' },
    medianFigure('pod_create_ungated_in_turn', 'Pod without our volume, in turn with the next three', rounds.map(({ ungatedInTurn }) => ungatedInTurn)),
    medianFigure('pod_create_gated', 'Pod with our volume', rounds.map(({ gated }) => gated)),
    medianFigure('subject_access_reviews_round', 'three SubjectAccessReviews at once', rounds.map(({ reviews }) => reviews)),
    medianFigure('access_request_create', 'one AccessRequest, our webhooks configured', rounds.map(({ request }) => request)),
    {
      key: 'pod_create_gated_to_parts_ratio',
      label: 'Pod with our volume to (Pod without + reviews + AccessRequest)',
      value: spreadOf(ratios).median,
      unit: 'ratio',
      goal: { atMost: MOST_OF_PARTS },
      note: spreadNote(ratios, 2),
    },
  ]
}

const openClients = (env: BenchEnv, { cluster, webhook }: Ground): { admin: TimedClient; asWebhook: TimedClient } => {
  const { server, caPem } = cluster
  const admin = timedClient({ server, caPem, token: cluster.description.adminToken })
  const asWebhook = timedClient({ server, caPem, token: webhook.token })
  env.atEnd(() => {
    admin.close()
    asWebhook.close()
  })
  return { admin, asWebhook }
}

const run = async (env: BenchEnv): Promise<Figure[]> => {
  const { rounds, count } = env.quick ? { rounds: 6, count: 12 } : { rounds: 12, count: 30 }
  const { admin, asWebhook } = openClients(env, await openGround(env))
  const acts = createActs(admin, asWebhook)
  const webhooks = await createSwitch(admin, env.signal)
  env.log(`  ${rounds} rounds of ${count} of each`)
  await measureInTurn(acts, count)
  return figuresOf(await measureRounds(env, acts, webhooks, rounds, count))
}

export const POD_CREATION: Section = {
  name: 'pods',
  title: 'Creation of a Pod through the real API server, one client, one after the other; no controller runs',
  keys: [
    'pod_create_without_webhooks_median_ms',
    'pod_create_ungated_median_ms',
    'pod_create_ungated_cost_ms',
    'pod_create_ungated_cost_low_ms',
    'pod_create_ungated_cost_high_ms',
    'pod_create_ungated_in_turn_median_ms',
    'pod_create_gated_median_ms',
    'subject_access_reviews_round_median_ms',
    'access_request_create_median_ms',
    'pod_create_gated_to_parts_ratio',
  ],
  run,
}
