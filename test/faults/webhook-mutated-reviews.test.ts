import fc from 'fast-check'
import { test } from 'tap'
import { countsComment } from '../../hack/test-run/counts.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ACCESS_REQUESTS, CONNECTORS } from '../../src/kube/resources.ts'
import { at, canonical, fieldsOf, verdictOn, wrongInPatch } from '../support/admission-oracle.ts'
import { json, mutated, type Json } from '../support/mutated-json.ts'
import { RECORDED } from '../support/recorded-reviews.ts'
import { harness, NOW, turnFlags, type Answered, type Harness } from '../webhooks/harness.ts'

const SEED = 20_260_102
const REVIEWS = 9_000
const BYTES = 1_000

/** Values that mean something to a hook somewhere. */
const TELLING: Json[] = [
  'CREATE', 'UPDATE', 'DELETE', 'other', 'shared', 'cicd', 'harbor', 'v1', 'Pod', 'User', 'Group', 'ServiceAccount', 'Secret', 'secrets', 'builder', 'default',
  'rbac.authorization.k8s.io', 'connectors-csi', 'connectors.alauda.io/access-cleanup', 'pods', 'accessrequests', 'shared/harbor', '{.object.metadata.name}', '"passed"',
  'system:serviceaccount:connectors-system:access-gate-controller', 'system:serviceaccount:connectors-system:access-gate-webhook', 'system:serviceaccount:other:access-gate-controller',
  { 'connectors.alauda.io/requested-by': 'root' }, { matchLabels: {} }, { rego: 'x' }, { cel: '"passed"' }, ['harbor', 'harbor'],
]

/** The same value with another one at a path. */
const put = (value: Json, [key, ...rest]: readonly string[], next: Json): Json => {
  const fields = fieldsOf(value)
  if (key === undefined || fields === undefined) return next
  return { ...(fields as Record<string, Json>), [key]: put(fields[key] as Json, rest, next) }
}

/** Where changes are made: mostly in what the hooks judge, sometimes anywhere. */
const FOCUS: readonly (readonly string[])[] = [['request', 'object', 'spec'], ['request', 'object', 'spec'], ['request', 'object'], ['request', 'oldObject'], ['request', 'userInfo'], ['request'], []]

const mutatedReviews = fc.constantFrom(...RECORDED).chain(({ path, review }) => {
  const good = json(JSON.stringify(review))
  return fc.constantFrom(...FOCUS).chain((focus) => {
    const part = at(good, ...focus)
    return mutated(fieldsOf(part) ?? { value: null }, TELLING).map((next) => ({ path, body: put(good, focus, next) }))
  })
})

const isText = (value: unknown): boolean => typeof value === 'string'
const isMissing = (value: unknown): boolean => value === undefined

/** Whether it is a review for this hook at all, as Kubernetes describes one. */
const isReview = (path: string, body: Json): boolean => {
  if (at(body, 'apiVersion') !== 'admission.k8s.io/v1' || at(body, 'kind') !== 'AdmissionReview') return false
  const asked = at(body, 'request')
  const resource = at(asked, 'resource')
  const operation = at(asked, 'operation')
  const dryRun = at(asked, 'dryRun') ?? false
  const wanted = path.endsWith('/pod') ? ['', 'pods'] : ['connectors.alauda.io', path.endsWith('policy') ? 'accesspolicies' : 'accessrequests']
  const hasObject = (operation !== 'CREATE' && operation !== 'UPDATE') || fieldsOf(at(asked, 'object')) !== undefined
  const hasOld = operation !== 'UPDATE' || fieldsOf(at(asked, 'oldObject')) !== undefined
  return (
    isText(at(asked, 'uid')) &&
    at(asked, 'uid') !== '' &&
    typeof operation === 'string' &&
    ['CREATE', 'UPDATE', 'DELETE', 'CONNECT'].includes(operation) &&
    isText(at(asked, 'userInfo', 'username')) &&
    [at(asked, 'name'), at(asked, 'namespace')].every((value) => isMissing(value) || isText(value)) &&
    typeof dryRun === 'boolean' &&
    (isMissing(resource) || (at(resource, 'group') === wanted[0] && at(resource, 'resource') === wanted[1] && isText(at(resource, 'version')))) &&
    hasObject &&
    hasOld
  )
}

const EXISTING = new Set(['shared/harbor', 'cicd/git'])

/** A time that moves on with every review, so that requests of Pods are not all made at once. */
const world = (): Harness => {
  let now = NOW
  const made = harness({ clock: { now: () => (now += 10_000) } })
  turnFlags(made.kube)
  for (const connector of EXISTING) {
    const [namespace = '', name = ''] = connector.split('/')
    made.kube.put(CONNECTORS, { metadata: { name, namespace } })
  }
  made.kube.allowIf((_identity, { verb }) => verb === 'get')
  return made
}

/** What is wrong with the requests that a review of a Pod made; undefined when nothing is. Forgets them. */
const wrongInRequests = ({ kube }: Harness, path: string, asked: Json): string | undefined => {
  const made = kube.writes().map(({ body }) => body as AccessRequest)
  for (const { metadata } of kube.all(ACCESS_REQUESTS)) kube.drop(ACCESS_REQUESTS, metadata.namespace, metadata.name)
  kube.calls.length = 0
  if (made.length === 0) return undefined
  if (path !== '/validate/pod' || at(asked, 'operation') !== 'CREATE' || at(asked, 'dryRun') === true) return `${made.length} requests were made`
  const account = at(asked, 'object', 'spec', 'serviceAccountName')
  const name = typeof account === 'string' && account !== '' ? account : 'default'
  const pod = { name: at(asked, 'object', 'metadata', 'name'), namespace: at(asked, 'namespace') ?? at(asked, 'object', 'metadata', 'namespace'), uid: at(asked, 'object', 'metadata', 'uid') }
  const stranger = made.find(({ metadata, spec }) => {
    const isForPod = canonical(spec.context.objectRef) === canonical({ apiVersion: 'v1', kind: 'Pod', ...pod })
    const isForAccount = canonical(spec.subject) === canonical({ kind: 'ServiceAccount', name, namespace: pod.namespace })
    return !isForPod || !isForAccount || !EXISTING.has(`${metadata.namespace}/${spec.connectorRef.name}`)
  })
  return stranger === undefined ? undefined : `a request of somebody else: ${JSON.stringify(stranger)}`
}

/** A refusal says why: fields for an object, a sentence for a person. */
const wrongInRefusal = ({ status }: Answered): string | undefined => {
  if (status === undefined || status.message === '') return 'no reason'
  if (status.code === 403) return /^status: .{20}/.test(status.message) && status.reason === 'Forbidden' ? undefined : 'no reason for 403'
  const causes = at(status.details, 'causes')
  const named = Array.isArray(causes) && causes.length > 0 && causes.every((cause) => String(at(cause, 'field')).startsWith('spec') && String(at(cause, 'message')) !== '')
  return status.code === 422 && status.reason === 'Invalid' && named ? undefined : `no field is named: ${JSON.stringify(status)}`
}

type Ended = 'allowed' | 'patched' | 'refused' | 'malformed'

/** @throws Error when the answer is not one that may be given */
const judge = (made: Harness, path: string, body: Json | undefined, code: number, text: string): Ended => {
  const fail = (what: string): never => {
    throw new Error(`${path}: ${what}; asked ${JSON.stringify(body)?.slice(0, 4_000)}; answered ${code} ${text}`)
  }
  if (body === undefined || !isReview(path, body)) {
    if (code !== 400 && code !== 415) fail('no review, and not refused as such')
    const { kind, status, message } = JSON.parse(text)
    if (kind !== 'Status' || status !== 'Failure' || typeof message !== 'string' || message.length < 10 || text.includes('"allowed"')) fail('a refusal without a reason')
    return wrongInRequests(made, path, null) === undefined ? 'malformed' : fail('something was made')
  }
  if (code !== 200) fail('a review that was not answered')
  const asked = at(body, 'request') as Json
  const { response }: { response: Answered & { patch?: string } } = JSON.parse(text)
  if (response.uid !== at(asked, 'uid') || typeof response.allowed !== 'boolean') fail('an answer to something else')
  const verdict = verdictOn(path, asked)
  const wrong = response.allowed ? verdict === 'must refuse' && 'wrongly allowed' : verdict === 'must allow' ? 'wrongly refused' : wrongInRefusal(response)
  if (typeof wrong === 'string') fail(wrong)
  const patch = response.patch === undefined ? [] : JSON.parse(Buffer.from(String(response.patch), 'base64').toString('utf8'))
  const other = (path.startsWith('/mutate') ? wrongInPatch(path, asked, patch) : patch.length > 0 ? 'a patch' : undefined) ?? wrongInRequests(made, path, asked)
  if (other !== undefined) fail(other)
  return !response.allowed ? 'refused' : patch.length > 0 ? 'patched' : 'allowed'
}

const counter = (): { count: (path: string, ended: Ended) => void; of: (ended: Ended) => number; refusing: () => string[] } => {
  const seen = new Map<string, number>()
  return {
    count: (path, ended) => void seen.set(`${ended} ${path}`, (seen.get(`${ended} ${path}`) ?? 0) + 1),
    of: (ended) => [...seen].reduce((sum, [key, count]) => (key.startsWith(`${ended} `) ? sum + count : sum), 0),
    refusing: () => [...seen.keys()].flatMap((key) => (key.startsWith('refused ') ? [key.slice(8)] : [])).toSorted(),
  }
}

const crashes = ({ lines }: Harness): string[] => lines.messages().filter((line) => line.startsWith('error'))

await test(`${REVIEWS} mutated AdmissionReviews: no crash, none wrongly allowed or refused, each refusal names its reason`, async (t) => {
  const made = world()
  const { count, of, refusing } = counter()
  for (const { path, review } of RECORDED) {
    const answer = await made.post(path, review)
    t.not(judge(made, path, json(JSON.stringify(review)), answer.statusCode, answer.body), 'refused', `as recorded: ${path}`)
  }
  await fc.assert(
    fc.asyncProperty(mutatedReviews, async ({ path, body }) => {
      const text = JSON.stringify(body)
      const answer = await made.post(path, text)
      count(path, judge(made, path, json(text), answer.statusCode, answer.body))
    }),
    { numRuns: REVIEWS, seed: SEED },
  )
  t.comment(countsComment({ reviews: REVIEWS, seed: SEED, allowed: of('allowed'), patched: of('patched'), refused: of('refused'), malformed: of('malformed'), crashes: crashes(made).length }))
  t.strictSame(crashes(made), [])
  t.strictSame(refusing(), ['/validate/access-policy', '/validate/access-request', '/validate/access-request-status'])
  for (const ended of ['allowed', 'patched', 'refused', 'malformed'] as const) t.ok(of(ended) > REVIEWS / 50, `${ended}: ${of(ended)}`)
  t.equal(Reflect.get({}, 'allowed'), undefined)
})

const nested = (levels: number, [open, close]: readonly [string, string], inside = '1'): string => `${open.repeat(levels)}${inside}${close.repeat(levels)}`

/** What JSON can be that no fast-check value is: the text itself is changed. */
const BYTE_CHANGES: readonly fc.Arbitrary<(text: string) => Buffer>[] = [
  fc.nat().map((end) => (text) => Buffer.from(text).subarray(0, end % Buffer.byteLength(text))),
  fc.tuple(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 8 })).map(([place, bytes]) => (text) => {
    const whole = Buffer.from(text)
    const start = place % whole.length
    return Buffer.concat([whole.subarray(0, start), bytes, whole.subarray(start)])
  }),
  fc.constantFrom('"spec":null,', '"spec":{},', '"metadata":1,', '"operation":"DELETE",', '"uid":"other",', '"allowed":true,').map((twice) => (text) => Buffer.from(text.replaceAll('{"', `{${twice}"`))),
  fc.constantFrom('"spec":', '"metadata":', '"operation":', '"object":').map((key) => (text) => Buffer.from(text.replace(key, `${key}{"first":1},${key}`))),
  fc.tuple(fc.constantFrom(['[', ']'] as const, ['{"a":', '}'] as const), fc.constantFrom('"spec":', '"labels":', '"annotations":', '"name":', '"object":'), fc.constantFrom(100, 1_000, 2_500)).map(
    ([brackets, key, levels]) =>
      (text) =>
        Buffer.from(text.replaceAll(key, `"deep":${nested(levels, brackets)},${key}`)),
  ),
  fc.tuple(fc.constantFrom('"spec":', '"volumeAttributes":', '"matchLabels":'), fc.constantFrom(1_000, 2_500)).map(
    ([key, levels]) => (text) => Buffer.from(text.replace(key, `${key}${nested(levels, ['{"a":', '}'])},"was":`)),
  ),
  fc.constantFrom('1e999', '-1e999', `1${'0'.repeat(400)}`, '0.1e-999', '-0', '9007199254740993').map((number) => (text) => Buffer.from(text.replaceAll(/:(true|false|"[^"]{0,9}")/g, `:${number}`))),
  fc.constantFrom(String.raw`\ud800`, String.raw`\udc00\ud800`, String.raw`\u0000`, '\u0000', '\u2028', '\uFEFF').map((odd) => (text) => Buffer.from(text.replaceAll('build', `build${odd}`))),
  fc.constantFrom([0xed, 0xa0, 0x80], [0xff], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]).map((odd) => (text) => {
    const place = text.indexOf('build')
    return Buffer.concat([Buffer.from(text.slice(0, place)), Buffer.from(odd), Buffer.from(text.slice(place))])
  }),
  fc.constantFrom('\uFEFF', '\u0000', ' '.repeat(100_000), '[', '//x\n').map((before) => (text) => Buffer.from(before + text)),
  fc.constantFrom('\u0000', '}', 'null', ' '.repeat(100_000), '\n{}').map((after) => (text) => Buffer.from(text + after)),
  fc.constantFrom<BufferEncoding>('utf16le', 'latin1', 'base64').map((encoding) => (text) => (encoding === 'base64' ? Buffer.from(Buffer.from(text).toString('base64')) : Buffer.from(text, encoding))),
]

const TYPES = ['application/json', 'application/json', 'application/json', 'application/json; charset=utf-8', 'text/plain', 'application/yaml', 'application/vnd.kubernetes.protobuf', 'application/jsonx', '', 'application/json, text/plain']
const isJsonType = (type: string): boolean => /^application\/json(;|$)/.test(type)

const parsed = (bytes: Buffer): Json | undefined => {
  try {
    return json(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

await test(`${BYTES} AdmissionReviews whose bytes were changed: no crash, none wrongly allowed, each refusal names its reason`, async (t) => {
  const made = world()
  const { count, of } = counter()
  const changes = fc.tuple(fc.constantFrom(...RECORDED), fc.oneof(...BYTE_CHANGES), fc.constantFrom(...TYPES))
  await fc.assert(
    fc.asyncProperty(changes, async ([{ path, review }, change, type]) => {
      const bytes = change(JSON.stringify(review))
      const answer = await made.app.inject({ method: 'POST', url: `${path}?timeout=5s`, headers: { 'content-type': type }, payload: bytes })
      // Bytes that are no UTF-8 may be refused as such.
      const isCut = answer.statusCode === 400 && !Buffer.from(bytes.toString('utf8')).equals(bytes)
      count(path, judge(made, path, isJsonType(type) && !isCut ? parsed(bytes) : undefined, answer.statusCode, answer.body))
    }),
    { numRuns: BYTES, seed: SEED },
  )
  t.comment(countsComment({ reviews: BYTES, seed: SEED, allowed: of('allowed'), patched: of('patched'), refused: of('refused'), malformed: of('malformed'), crashes: crashes(made).length }))
  t.strictSame(crashes(made), [])
  for (const ended of ['allowed', 'refused', 'malformed'] as const) t.ok(of(ended) > BYTES / 50, `${ended}: ${of(ended)}`)
})

/** The API server reads no JSON that is nested deeper. */
const DEEPEST = 10_000 - 10

await test('AdmissionReviews nested as deep as an API server takes them: each is answered', async (t) => {
  const made = world()
  let asked = 0
  for (const { path, review } of RECORDED) {
    for (const key of ['"spec":', '"metadata":', '"labels":', '"annotations":', '"finalizers":', '"subject":', '"checks":', '"volumes":', '"connectorRef":', '"names":', '"username":']) {
      for (const brackets of [['[', ']'], ['{"a":', '}']] as const) {
        const text = JSON.stringify(review).replaceAll(key, `${key}${nested(DEEPEST, brackets)},"was":`)
        const { statusCode, body } = await made.post(path, text)
        if (statusCode !== 200 && statusCode !== 400) t.fail(`${path} ${key} ${statusCode} ${body}`)
        asked += 1
      }
    }
  }
  t.comment(countsComment({ reviews: asked, levels: DEEPEST, crashes: crashes(made).length }))
  t.strictSame(crashes(made), [])
})
