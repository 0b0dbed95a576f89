import fc from 'fast-check'
import { test } from 'tap'
import type { ResolvedCheck } from '../../src/api/access-request.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { checkKeys, kindKey, objectCheckKeys, openChecks, requestCheckKeys, requestKinds } from '../../src/controller/check-index.ts'
import { selectorOf } from '../../src/controller/check-selector.ts'
import { selectorMatches } from '../../src/core/label-selector.ts'
import { APPROVAL_TASKS, matchedOf, requestOf, resolvedCheck, snapshotOf, statusOf, taskOf } from '../support/request-facts.ts'

const { apiVersion, kind } = APPROVAL_TASKS
const SCOPE = 'openshift-pipelines.org/v1alpha1/ApprovalTask|cicd'

const SELECTORS: Record<string, { check: ResolvedCheck; key: string }> = {
  'a name': { check: { name: 'c', ...APPROVAL_TASKS, objectName: 'deploy' }, key: `${SCOPE}|name=deploy` },
  'a name and labels': { check: { name: 'c', ...APPROVAL_TASKS, objectName: 'deploy', matchLabels: { run: 'r' } }, key: `${SCOPE}|name=deploy` },
  'labels': { check: { name: 'c', ...APPROVAL_TASKS, matchLabels: { run: 'r', app: 'a' } }, key: `${SCOPE}|label:run=r` },
  'requirements alone': { check: { name: 'c', ...APPROVAL_TASKS, matchExpressions: [{ key: 'run', operator: 'Exists' }] }, key: `${SCOPE}|any` },
}
for (const [name, { check, key }] of Object.entries(SELECTORS)) {
  await test(`a check that selects by ${name} is found under one key, and under its recorded objects`, (t) => {
    t.strictSame(checkKeys(check, 'cicd', []), [key])
    t.strictSame(checkKeys(check, 'cicd', [{ uid: 'u' }]), [key, 'uid|u'])
    t.end()
  })
}

await test('an object is found under its name, each of its labels and its uid, in its namespace', (t) => {
  t.strictSame(objectCheckKeys(apiVersion, kind, { metadata: { name: 'deploy', namespace: 'cicd', uid: 'u', labels: { run: 'r', app: '' } } }), [
    `${SCOPE}|any`,
    `${SCOPE}|name=deploy`,
    `${SCOPE}|label:run=r`,
    `${SCOPE}|label:app=`,
    'uid|u',
  ])
  t.strictSame(objectCheckKeys(apiVersion, kind, { metadata: { name: 'bare' } }), [`${kindKey(apiVersion, kind)}||any`, `${kindKey(apiVersion, kind)}||name=bare`])
  t.end()
})

await test('a request cares for its checks and kinds until it is final', (t) => {
  const policies = [
    snapshotOf({ checks: [resolvedCheck('a'), resolvedCheck('b', { matchLabels: { run: 'run-2' } })], matchedChecks: [matchedOf(taskOf('deploy', 'pending'), 'Unknown/Pending waits')] }),
    snapshotOf({ name: 'other', checks: [{ name: 'scan', apiVersion: 'example.com/v1', kind: 'Scan', objectName: 'x' }] }),
  ]
  const open = requestOf({ status: statusOf({}, policies) })
  t.strictSame(openChecks(open).map(({ name }) => name), ['a', 'b', 'scan'])
  t.strictSame(requestCheckKeys(open), [`${SCOPE}|label:run=run-1`, `${SCOPE}|label:run=run-2`, 'example.com/v1/Scan|cicd|name=x', 'uid|uid-of-deploy'])
  t.strictSame(requestKinds(open), ['openshift-pipelines.org/v1alpha1/ApprovalTask', 'example.com/v1/Scan'])
  const final = requestOf({ status: statusOf({ sync: 'True/PermissionCleanUp gone' }, policies) })
  t.strictSame([openChecks(final), requestCheckKeys(final), requestKinds(final)], [[], [], []])
  t.strictSame([openChecks(requestOf()), requestCheckKeys(requestOf()), requestKinds(requestOf())], [[], [], []])
  t.end()
})

const labelKey = fc.constantFrom('a', 'b', 'tekton.dev/run')
const labelText = fc.constantFrom('', 'x', 'y', 'a|b=c')
const labels = fc.dictionary(labelKey, labelText, { maxKeys: 3 })
const name = fc.constantFrom('one', 'two')
const requirement = fc.oneof(
  fc.record({ key: labelKey, operator: fc.constantFrom('In' as const, 'NotIn' as const), values: fc.array(labelText, { minLength: 1, maxLength: 2 }) }),
  fc.record({ key: labelKey, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
)
const anyCheck: fc.Arbitrary<ResolvedCheck> = fc.record(
  { name: fc.constant('c'), apiVersion: fc.constant(apiVersion), kind: fc.constant(kind), objectName: name, matchLabels: labels, matchExpressions: fc.array(requirement, { maxLength: 2 }) },
  { requiredKeys: ['name', 'apiVersion', 'kind'] },
)
const anyObject: fc.Arbitrary<KubeObject> = fc.record({ name, labels, uid: fc.constantFrom('u', 'v') }).map((metadata) => ({ metadata: { ...metadata, namespace: 'cicd' } }))

await test('whatever a check selects or has recorded leads to it', (t) => {
  fc.assert(
    fc.property(anyCheck, anyObject, fc.subarray(['u', 'v']), (check, object, recorded) => {
      const isSelected = (check.objectName === undefined || check.objectName === object.metadata.name) && selectorMatches(selectorOf(check), object.metadata.labels)
      const isRecorded = recorded.includes(object.metadata.uid ?? '')
      const keys = new Set(objectCheckKeys(apiVersion, kind, object))
      const leads = checkKeys(check, 'cicd', recorded.map((uid) => ({ uid }))).some((key) => keys.has(key))
      return leads || !(isSelected || isRecorded)
    }),
    { numRuns: 2000 },
  )
  t.end()
})
