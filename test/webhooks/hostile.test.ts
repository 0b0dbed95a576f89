/** Reviews that nobody would write: whatever comes in, an answer of a known kind goes out, and nothing wrong is let in. */
import fc from 'fast-check'
import { test } from 'tap'
import { requestProblems } from '../../src/core/request-rules.ts'
import { policyProblems } from '../../src/core/policy-rules.ts'
import type { AccessPolicySpec } from '../../src/api/access-policy.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { CONNECTORS } from '../../src/kube/resources.ts'
import { mutated } from '../support/mutated-json.ts'
import { applied, harness, review, turnFlags, type Answered, type Harness } from './harness.ts'

const RUNS = 1_500
const PATHS = [
  '/mutate/access-request',
  '/validate/access-request',
  '/validate/access-request-status',
  '/validate/access-policy',
  '/mutate/pod',
  '/validate/pod',
]

const request = {
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'AccessRequest',
  metadata: { name: 'a', namespace: 'shared', labels: { a: 'b' }, annotations: { c: 'd' }, finalizers: ['e/f'] },
  spec: {
    subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
    connectorRef: { name: 'harbor' },
    context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build', namespace: 'cicd' } },
  },
}
const policy = {
  metadata: { name: 'p', namespace: 'shared' },
  spec: {
    connector: { names: ['harbor'] },
    checkGrantedPermission: {
      spec: {
        checks: [
          {
            name: 'a',
            spec: {
              selector: { objectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x' }, matchLabels: { a: '{.object.metadata.name}' } },
              state: { cel: '"passed"' },
            },
          },
        ],
        roleTemplate: { ref: { configMap: { name: 'r' } } },
      },
    },
  },
}
const pod = {
  metadata: { name: 'p', namespace: 'cicd', uid: 'u', labels: { a: 'b' } },
  spec: {
    serviceAccountName: 'builder',
    volumes: [{ name: 'v', csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors: 'shared/harbor' } } }],
  },
}

const questions = fc
  .tuple(fc.constantFrom(request, policy, pod), fc.constantFrom('CREATE', 'UPDATE', 'DELETE', 'CONNECT'), fc.boolean())
  .map(([object, operation, dryRun]) => review({ operation, dryRun, name: 'n', object, oldObject: object }))

const KNOWN = new Set([200, 400, 413, 415])

const ready = (): Harness => {
  const made = harness()
  turnFlags(made.kube)
  made.kube.put(CONNECTORS, { metadata: { name: 'harbor', namespace: 'shared' } })
  made.kube.allowIf((_identity, { verb }) => verb === 'get')
  return made
}

await test(`${RUNS} reviews with anything wrong anywhere: no crash, and an answer of a known kind`, async (t) => {
  const { post, lines } = ready()
  const seen = new Map<number, number>()
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PATHS), questions.chain(mutated), async (path, body) => {
      const reply = await post(path, body)
      seen.set(reply.statusCode, (seen.get(reply.statusCode) ?? 0) + 1)
      if (!KNOWN.has(reply.statusCode)) throw new Error(`${reply.statusCode} ${reply.body}`)
      const answer: { kind?: string; message?: string; response?: Answered } = reply.json()
      if (reply.statusCode !== 200) {
        if (answer.kind !== 'Status' || typeof answer.message !== 'string' || answer.message === '' || reply.body.includes('"allowed":true'))
          throw new Error(reply.body)
        return
      }
      const { response } = answer
      if (response === undefined || typeof response.uid !== 'string' || typeof response.allowed !== 'boolean') throw new Error(reply.body)
      if (!response.allowed && (response.status?.message ?? '') === '') throw new Error(`a refusal without a reason: ${reply.body}`)
    }),
    { numRuns: RUNS },
  )
  t.ok((seen.get(200) ?? 0) > 100 && (seen.get(400) ?? 0) > 100, [...seen].join(' '))
  t.strictSame(
    lines.messages().filter((line) => line.startsWith('error')),
    [],
  )
  t.equal(Reflect.get({}, 'allowed'), undefined)
})

await test('bodies that are cut, or no JSON: 400', async (t) => {
  const { post } = ready()
  const whole = JSON.stringify(review({ object: request }))
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...PATHS),
      fc.oneof(
        fc.nat({ max: whole.length - 1 }).map((end) => whole.slice(0, end)),
        fc.string().map((text) => `${text}]`),
      ),
      async (path, body) => {
        const { statusCode } = await post(path, body)
        if (statusCode !== 400) throw new Error(String(statusCode))
      },
    ),
    { numRuns: 300 },
  )
  t.pass('all refused')
})

await test('a request passes exactly when no rule speaks against it', async (t) => {
  const { ask } = ready()
  let refused = 0
  await fc.assert(
    fc.asyncProperty(mutated(request.spec), async (spec) => {
      const object = { ...request, spec }
      const { allowed } = await ask('/validate/access-request', { object })
      if (!allowed) refused += 1
      if (allowed !== (requestProblems(object as unknown as AccessRequest).length === 0)) throw new Error('another answer than the rules')
    }),
    { numRuns: RUNS },
  )
  t.ok(refused > RUNS / 2)
})

await test('a policy passes exactly when no rule speaks against it', async (t) => {
  const { ask } = ready()
  let refused = 0
  await fc.assert(
    fc.asyncProperty(mutated(policy.spec), async (spec) => {
      const { allowed } = await ask('/validate/access-policy', { object: { ...policy, spec } })
      if (!allowed) refused += 1
      if (allowed !== (policyProblems(spec as unknown as AccessPolicySpec).length === 0)) throw new Error('another answer than the rules')
    }),
    { numRuns: RUNS },
  )
  t.ok(refused > RUNS / 2)
})

await test('a changed spec never passes, whatever it was changed to', async (t) => {
  const { ask } = ready()
  await fc.assert(
    fc.asyncProperty(mutated(request.spec), async (spec) => {
      const { allowed } = await ask('/validate/access-request', { operation: 'UPDATE', oldObject: request, object: { ...request, spec } })
      if (allowed && JSON.stringify(spec) !== JSON.stringify(request.spec)) throw new Error(JSON.stringify(spec))
    }),
    { numRuns: 500 },
  )
  t.pass('all refused')
})

await test('every patch can be applied, and a second pass changes nothing', async (t) => {
  const { ask } = ready()
  let patched = 0
  await fc.assert(
    fc.asyncProperty(
      fc
        .constantFrom<[string, object]>(['/mutate/access-request', request], ['/mutate/pod', pod])
        .chain(([path, object]) => fc.tuple(fc.constant(path), mutated(object))),
      async ([path, object]) => {
        if (typeof object !== 'object' || object === null || Array.isArray(object)) return
        const first = await ask(path, { object })
        if (!first.allowed) throw new Error('a mutating hook refused')
        if (first.patch === undefined) return
        patched += 1
        const second = await ask(path, { object: applied(object, first) })
        if (second.patch !== undefined) throw new Error(JSON.stringify(second.patch))
      },
    ),
    { numRuns: RUNS },
  )
  t.ok(patched > RUNS / 4)
})

await test('a Pod is never refused', async (t) => {
  const { ask } = ready()
  await fc.assert(
    fc.asyncProperty(mutated(pod), fc.boolean(), async (object, dryRun) => {
      if (typeof object !== 'object' || object === null || Array.isArray(object)) return
      const { allowed } = await ask('/validate/pod', { object, dryRun, namespace: 'cicd' })
      if (!allowed) throw new Error('refused')
    }),
    { numRuns: 500 },
  )
  t.pass('all admitted')
})
