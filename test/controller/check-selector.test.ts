import fc from 'fast-check'
import { test } from 'tap'
import type { ResolvedCheck } from '../../src/api/access-request.ts'
import { selectorOf, selectorQuery } from '../../src/controller/check-selector.ts'
import { isLabelValue } from '../../src/core/name-rules.ts'
import { selectorMatches } from '../../src/core/label-selector.ts'
import { fieldMatcher, labelMatcher } from '../support/selectors.ts'
import { APPROVAL_TASKS } from '../support/request-facts.ts'

const check = (more: Partial<ResolvedCheck>): ResolvedCheck => ({ name: 'c', ...APPROVAL_TASKS, ...more })

const QUERIES: Record<string, { check: ResolvedCheck; query: object }> = {
  'a name': { check: check({ objectName: 'deploy' }), query: { fieldSelector: 'metadata.name=deploy' } },
  'labels': { check: check({ matchLabels: { run: 'r', app: '' } }), query: { labelSelector: 'run=r,app=' } },
  'every operator': {
    check: check({
      matchExpressions: [
        { key: 'a', operator: 'In', values: ['x', 'y'] },
        { key: 'b', operator: 'NotIn', values: ['z'] },
        { key: 'c', operator: 'Exists' },
        { key: 'd', operator: 'DoesNotExist' },
      ],
    }),
    query: { labelSelector: 'a in (x,y),b notin (z),c,!d' },
  },
  'a label that would be read as two requirements': { check: check({ matchLabels: { run: 'x,app!=y', app: 'y' } }), query: { labelSelector: 'app=y' } },
  'a value that would close its list': { check: check({ matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['x),b in (y'] }] }), query: {} },
  'a list that the API server would refuse': { check: check({ matchExpressions: [{ key: 'a', operator: 'In', values: [] }, { key: 'b', operator: 'NotIn' }] }), query: {} },
  'a name that would be read as two requirements': { check: check({ objectName: 'deploy,metadata.namespace!=x' }), query: {} },
  'nothing': { check: check({}), query: {} },
}
for (const [name, { check: given, query }] of Object.entries(QUERIES)) {
  await test(`the query for ${name}`, (t) => {
    t.strictSame(selectorQuery(given), query)
    t.end()
  })
}

const labelKey = fc.constantFrom('a', 'b', 'tekton.dev/run')
const labelText = fc.constantFrom('', 'x', 'y')
/** Values as a Pod may hold them in an annotation. */
const renderedText = fc.oneof(labelText, fc.constantFrom('x,b=y', 'x)', '!b', 'a b', '=x', 'x'.repeat(64)))
const name = fc.constantFrom('one', 'two')
const anyCheck = fc.record(
  {
    objectName: fc.oneof(name, fc.constant('one,metadata.name!=two')),
    matchLabels: fc.dictionary(labelKey, renderedText, { maxKeys: 3 }),
    matchExpressions: fc.array(
      fc.oneof(
        fc.record({ key: labelKey, operator: fc.constantFrom('In' as const, 'NotIn' as const), values: fc.array(renderedText, { maxLength: 2 }) }),
        fc.record({ key: labelKey, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
      ),
      { maxLength: 3 },
    ),
  },
  { requiredKeys: [] },
)
const anyObject = fc.record({ name, labels: fc.dictionary(labelKey, labelText, { maxKeys: 3 }) }).map((metadata) => ({ metadata: { ...metadata, namespace: 'cicd' } }))

await test('a query finds whatever the check selects; where all values are label values, nothing else', (t) => {
  fc.assert(
    fc.property(anyCheck, anyObject, (more, object) => {
      const given = check(more)
      const { labelSelector, fieldSelector } = selectorQuery(given)
      const isFound = labelMatcher(labelSelector)(object) && fieldMatcher(fieldSelector)(object)
      const isSelected = (given.objectName === undefined || given.objectName === object.metadata.name) && selectorMatches(selectorOf(given), object.metadata.labels)
      const values = [...Object.values(given.matchLabels ?? {}), ...(given.matchExpressions ?? []).flatMap(({ values: some }) => some ?? [])]
      const isPlain = values.every(isLabelValue) && (given.matchExpressions ?? []).every(({ values: some }) => some === undefined || some.length > 0) && given.objectName !== 'one,metadata.name!=two'
      return isPlain ? isFound === isSelected : isFound || !isSelected
    }),
    { numRuns: 3000 },
  )
  t.end()
})
