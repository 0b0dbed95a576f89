import { evaluate } from '@marcbachmann/cel-js'
import { test } from 'tap'
import { celSentence, CREATED_OR_SPEC_CHANGED, GRANT_NAMES, REQUEST_NAMESPACE, REQUEST_STATUS } from '../../../hack/generate/admission-policies.ts'
import { foreignNamespaceMessage, STATUS_WRITER_MESSAGE } from '../../../src/core/request-rules.ts'

const request = { namespace: 'shared', operation: 'CREATE', userInfo: { username: 'alice' } }
const connectorRef = (namespace?: string) => ({ name: 'harbor', ...(namespace === undefined ? {} : { namespace }) })

const namespaces: Record<string, { object: object; passes: boolean }> = {
  'a request without a spec is left to the schema': { object: {}, passes: true },
  'a request without a connectorRef is left to the schema': { object: { spec: {} }, passes: true },
  'a connectorRef without namespace means the own one': { object: { spec: { connectorRef: connectorRef() } }, passes: true },
  'the own namespace may be given': { object: { spec: { connectorRef: connectorRef('shared') } }, passes: true },
  'a foreign namespace is refused': { object: { spec: { connectorRef: connectorRef('other') } }, passes: false },
  'an empty namespace is refused': { object: { spec: { connectorRef: connectorRef('') } }, passes: false },
  'a longer namespace that begins like the own one is refused': { object: { spec: { connectorRef: connectorRef('shared-2') } }, passes: false },
}

for (const [sentence, { object, passes }] of Object.entries(namespaces)) {
  await test(sentence, async (t) => {
    t.equal(evaluate(REQUEST_NAMESPACE.validations[0].expression, { object, request }), passes)
  })
}

await test('the policy on namespaces says what the webhook says, with the path of the field', async (t) => {
  for (const got of ['other', '', 'with "quotes" and \\']) {
    const said = evaluate(REQUEST_NAMESPACE.validations[0].messageExpression ?? '', { object: { spec: { connectorRef: connectorRef(got) } }, request })
    t.equal(said, `spec.connectorRef.namespace: ${foreignNamespaceMessage('shared', got)}`)
  }
})

await test('the policy on the status says what the webhook says, with the path of the field', async (t) => {
  t.equal(REQUEST_STATUS.validations[0].message, `status: ${STATUS_WRITER_MESSAGE}`)
})

const writers: Record<string, boolean> = {
  'system:serviceaccount:connectors-system:access-gate-controller': true,
  'system:serviceaccount:connectors-system:access-gate-webhook': false,
  'system:serviceaccount:other:access-gate-controller': false,
  'system:admin': false,
  '': false,
}

for (const [username, passes] of Object.entries(writers)) {
  await test(`status writes of "${username}" ${passes ? 'pass' : 'are refused'}`, async (t) => {
    t.equal(evaluate(REQUEST_STATUS.validations[0].expression, { request: { ...request, userInfo: { username } } }), passes)
  })
}

const changes: Record<string, { operation: string; object: object; oldObject: object; asks: boolean }> = {
  'every create is judged': { operation: 'CREATE', object: { spec: { a: 1 } }, oldObject: {}, asks: true },
  'an update of the spec is judged': { operation: 'UPDATE', object: { spec: { a: 1 } }, oldObject: { spec: { a: 2 } }, asks: true },
  'an added spec is judged': { operation: 'UPDATE', object: { spec: { a: 1 } }, oldObject: {}, asks: true },
  'a removed spec is judged': { operation: 'UPDATE', object: {}, oldObject: { spec: { a: 1 } }, asks: true },
  'an update that leaves the spec alone is not': { operation: 'UPDATE', object: { spec: { a: 1 }, b: 1 }, oldObject: { spec: { a: 1 } }, asks: false },
  'an update of an object without a spec is not': { operation: 'UPDATE', object: {}, oldObject: {}, asks: false },
}

for (const [sentence, { operation, object, oldObject, asks }] of Object.entries(changes)) {
  await test(sentence, async (t) => {
    t.equal(evaluate(CREATED_OR_SPEC_CHANGED.expression, { request: { ...request, operation }, object, oldObject }), asks)
  })
}

await test('a sentence that does not name a value as it is cannot become an expression', async (t) => {
  t.throws(() => celSentence((own) => `must be ${own}`, 'a', 'b'), { message: 'the sentence does not name its value as it is: must be own' })
  t.throws(() => celSentence((own, got) => `${own.toUpperCase()} ${got}`, 'a', 'b'), /OWN got/)
})

const grantNames: Record<string, { object: object; asks: boolean }> = {
  'a Role named like a grant is judged': { object: { metadata: { name: 'access-gate-grant-x' }, rules: [] }, asks: true },
  'a RoleBinding named like a grant is judged': { object: { metadata: { name: 'access-gate-grant-x' }, roleRef: { name: 'other' } }, asks: true },
  'a RoleBinding to a Role named like a grant is judged': { object: { metadata: { name: 'other' }, roleRef: { name: 'access-gate-grant-x' } }, asks: true },
  'another Role is not': { object: { metadata: { name: 'my-access-gate-grant-x' }, rules: [] }, asks: false },
  'another RoleBinding is not': { object: { metadata: { name: 'a' }, roleRef: { name: 'b' } }, asks: false },
}

for (const [sentence, { object, asks }] of Object.entries(grantNames)) {
  await test(sentence, async (t) => {
    t.equal(evaluate(GRANT_NAMES.matchCondition?.expression ?? '', { object, request }), asks)
  })
}

const CONTROLLER = 'system:serviceaccount:connectors-system:access-gate-controller'
const BUILDER = { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' }
const EVE = { kind: 'User', name: 'eve' }
const grant = (subjects: object[] | undefined, finalizers?: string[]): object => ({
  metadata: { name: 'access-gate-grant-x', ...(finalizers === undefined ? {} : { finalizers }) },
  ...(subjects === undefined ? {} : { subjects }),
})

/** Which of the validations refuse, by their order. */
const writes: Record<string, { username?: string; object: object; oldObject: object | null; refusedBy: number[] }> = {
  'a grant is made by the controller': { username: CONTROLLER, object: grant([BUILDER]), oldObject: null, refusedBy: [] },
  'a grant is made by somebody else': { object: grant([BUILDER]), oldObject: null, refusedBy: [0] },
  'the controller corrects the subjects': { username: CONTROLLER, object: grant([BUILDER]), oldObject: grant([EVE]), refusedBy: [] },
  'somebody adds a subject': { object: grant([BUILDER, EVE]), oldObject: grant([BUILDER]), refusedBy: [1] },
  'somebody puts another one in its place': { object: grant([EVE]), oldObject: grant([BUILDER]), refusedBy: [1] },
  'somebody adds the first one': { object: grant([EVE]), oldObject: grant(undefined), refusedBy: [1] },
  'somebody takes the subject away': { object: grant(undefined), oldObject: grant([BUILDER]), refusedBy: [] },
  'somebody adds a finalizer': { object: grant([BUILDER], ['a', 'b']), oldObject: grant([BUILDER], ['a']), refusedBy: [2] },
  'somebody adds the first finalizer to a Role': { object: grant(undefined, ['a']), oldObject: grant(undefined), refusedBy: [2] },
  'a finalizer goes': { object: grant([BUILDER], ['b']), oldObject: grant([BUILDER], ['a', 'b']), refusedBy: [] },
  'a Role is changed otherwise': { object: grant(undefined), oldObject: grant(undefined), refusedBy: [] },
}

for (const [sentence, { username = 'admin', object, oldObject, refusedBy }] of Object.entries(writes)) {
  await test(`a grant: ${sentence}`, async (t) => {
    const asked = { ...request, operation: oldObject === null ? 'CREATE' : 'UPDATE', userInfo: { username } }
    const refusing = GRANT_NAMES.validations.flatMap(({ expression }, index) => (evaluate(expression, { request: asked, object, oldObject }) === true ? [] : [index]))
    t.strictSame(refusing, refusedBy)
  })
}
