import fc from 'fast-check'
import { test } from 'tap'
import { toStructural } from '../../../src/core/structural-schema.ts'
import { fieldsOf, reviewBench } from './harness.ts'

await test('what can be asked', async (t) => {
  const told = [...reviewBench().kinds.values()].map(({ group, version, kind, plural, singular, specSchema, statusSchema }) => ({ group, version, kind, plural, singular, spec: fieldsOf(specSchema), status: fieldsOf(statusSchema) }))
  const connection = { group: 'connection.workspace.jupyter.org', version: 'v1alpha1' }
  t.strictSame(told, [
    {
      ...connection,
      kind: 'ConnectionAccessReview',
      plural: 'connectionaccessreviews',
      singular: 'connectionaccessreview',
      spec: ['workspaceName', 'user', 'groups', 'uid', 'extra'],
      status: ['allowed', 'notFound', 'reason'],
    },
    {
      ...connection,
      kind: 'WorkspaceConnection',
      plural: 'workspaceconnections',
      singular: 'workspaceconnection',
      spec: ['workspaceName', 'workspaceConnectionType'],
      status: ['workspaceConnectionType', 'workspaceConnectionUrl'],
    },
    { ...connection, kind: 'BearerTokenReview', plural: 'bearertokenreviews', singular: 'bearertokenreview', spec: ['token'], status: ['authenticated', 'path', 'domain', 'user', 'error'] },
    {
      group: 'access.connectors.alauda.io',
      version: 'v1alpha1',
      kind: 'ConnectorAccessReview',
      plural: 'connectoraccessreviews',
      singular: 'connectoraccessreview',
      spec: ['connectorName', 'subject', 'podName', 'user'],
      status: ['allowed', 'notFound', 'wouldRequest', 'policies', 'reason'],
    },
  ])
})

await test('every field has a description', async (t) => {
  for (const { kind, description, specSchema, statusSchema } of reviewBench().kinds.values()) {
    t.match(description, new RegExp(`^${kind} .+\\.$`))
    t.doesNotThrow(() => toStructural(specSchema, `${kind}.spec`))
    t.doesNotThrow(() => toStructural(statusSchema, `${kind}.status`))
  }
})

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.constantFrom('', '.', '..', 'a/b', '%', '__proto__', 'constructor', 'web-ui', 'vscode-remote', 'ServiceAccount'))
const spec = fc.record(
  {
    workspaceName: text,
    user: text,
    groups: fc.array(text, { maxLength: 4 }),
    uid: text,
    extra: fc.dictionary(text, fc.array(text, { maxLength: 3 })),
    workspaceConnectionType: text,
    token: text,
    connectorName: text,
    subject: fc.record({ kind: text, name: text, namespace: text }),
    podName: text,
  },
  { requiredKeys: ['workspaceName', 'workspaceConnectionType', 'connectorName', 'subject'] },
)

await test('whatever is asked: it is answered, and nobody is let in where nothing is allowed', async (t) => {
  const bench = reviewBench()
  await fc.assert(
    fc.asyncProperty(spec, fc.constantFrom(...bench.kinds.keys()), async (given, kind) => {
      const problems = bench.problems(kind, given)
      if (problems.length > 0) return problems.every(({ field, message }) => field.startsWith('spec.') && message.length < 1000)
      const outcome = await bench.review(kind, given)
      if (!outcome.ok) return outcome.failure.code === 403
      return Reflect.get(outcome.status as object, 'allowed') !== true && Reflect.get(outcome.status as object, 'authenticated') !== true
    }),
    { numRuns: 2000 },
  )
  t.strictSame(bench.kube.writes(), [])
})
