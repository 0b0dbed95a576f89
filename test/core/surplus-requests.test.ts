import fc from 'fast-check'
import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { buildRequest } from '../../src/core/request-identity.ts'
import { FRESHLY_FINISHED_MS, MAX_FINISHED, surplusRequests } from '../../src/core/surplus-requests.ts'
import { formatTime } from '../../src/core/time.ts'

const NOW = Date.parse('2026-01-02T00:00:00Z')

const open = (number: number, namespace = 'cicd'): AccessRequest =>
  buildRequest({ connector: { namespace: 'shared', name: 'harbor' }, pod: { namespace, name: `build-${number}`, uid: `pod-${number}` }, serviceAccount: 'builder' }, 'alice')

/** @param secondsAgo when it ended */
const finished = (number: number, secondsAgo: number, namespace?: string): AccessRequest => ({
  ...open(number, namespace),
  status: { conditions: [{ type: 'AccessPermissionSync', status: 'True', reason: 'PermissionCleanUp', message: '', lastTransitionTime: formatTime(NOW - secondsAgo * 1000) }] },
})
const many = (count: number, make: (index: number) => AccessRequest): AccessRequest[] => Array.from({ length: count }, (_, index) => make(index))
const namesOf = (requests: AccessRequest[]): string[] => requests.map(({ spec }) => spec.context.objectRef.name)

const CASES: Record<string, { requests: AccessRequest[]; surplus: string[] }> = {
  'none at all': { requests: [], surplus: [] },
  'as many as are kept': { requests: many(MAX_FINISHED, (index) => finished(index, 100 + index)), surplus: [] },
  'two more: the oldest two': { requests: many(MAX_FINISHED + 2, (index) => finished(index, 100 + index)), surplus: [`build-${MAX_FINISHED}`, `build-${MAX_FINISHED + 1}`] },
  'open ones are not counted': { requests: [...many(MAX_FINISHED, (index) => finished(index, 100)), ...many(50, (index) => open(1_000 + index))], surplus: [] },
  'each workload namespace for itself': { requests: many(2 * MAX_FINISHED, (index) => finished(index, 100, index % 2 === 0 ? 'cicd' : 'other')), surplus: [] },
  'ended moments ago: kept for the successors': { requests: many(MAX_FINISHED + 10, (index) => finished(index, 59)), surplus: [] },
  'without a time: the oldest': {
    requests: [{ ...finished(9_999, 0), status: { conditions: [{ type: 'AccessPermissionSync', status: 'True', reason: 'PermissionCleanUp', message: '', lastTransitionTime: '' }] } }, ...many(MAX_FINISHED, (index) => finished(index, 100))],
    surplus: ['build-9999'],
  },
  'on its way out already': { requests: [{ ...finished(9_999, 900), metadata: { ...finished(9_999, 900).metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }, ...many(MAX_FINISHED, (index) => finished(index, 100))], surplus: [] },
}

for (const [name, { requests, surplus }] of Object.entries(CASES)) {
  await test(`finished requests that are too many: ${name}`, async (t) => {
    t.strictSame(namesOf(surplusRequests(requests, NOW)), surplus)
  })
}

await test('only finished ones that are not fresh go, and never more than are too many', async (t) => {
  const any = fc.array(fc.tuple(fc.boolean(), fc.nat(200)), { maxLength: MAX_FINISHED + 50, minLength: MAX_FINISHED - 10 })
  fc.assert(
    fc.property(any, (given) => {
      const requests = given.map(([isOver, seconds], index) => (isOver ? finished(index, seconds) : open(index)))
      const over = requests.filter(({ status }) => status !== undefined).length
      const surplus = surplusRequests(requests, NOW)
      return (
        surplus.length <= Math.max(0, over - MAX_FINISHED) &&
        surplus.every(({ status }) => NOW - Date.parse(status?.conditions?.[0]?.lastTransitionTime ?? '') >= FRESHLY_FINISHED_MS)
      )
    }),
    { numRuns: 100 },
  )
  t.end()
})
