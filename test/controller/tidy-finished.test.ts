import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { createCaches } from '../../src/controller/caches.ts'
import { tidyFinished } from '../../src/controller/tidy-finished.ts'
import { buildRequest } from '../../src/core/request-identity.ts'
import { MAX_FINISHED } from '../../src/core/surplus-requests.ts'
import { formatTime } from '../../src/core/time.ts'
import { CodedError } from '../../src/errors.ts'
import { fakeTime, settle } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'

const time = fakeTime()

const finished = (number: number): AccessRequest => {
  const request = buildRequest({ connector: { namespace: 'shared', name: 'harbor' }, pod: { namespace: 'cicd', name: `build-${number}`, uid: `pod-${number}` }, serviceAccount: 'builder' }, 'alice')
  const lastTransitionTime = formatTime(time.clock.now() - 600_000 - number * 1_000)
  return {
    ...request,
    metadata: { ...request.metadata, uid: `request-${number}` },
    status: { conditions: [{ type: 'AccessPermissionSync', status: 'True', reason: 'PermissionCleanUp', message: '', lastTransitionTime }] },
  }
}

await test('once a minute the oldest finished requests go that are too many, until the term ends', async (t) => {
  const lines = logLines()
  const caches = createCaches(lines.log)
  for (let number = 0; number < MAX_FINISHED + 3; number += 1) caches.requests.put(finished(number))
  const removed: unknown[] = []
  const answers = [
    async () => true,
    async () => {
      throw new CodedError('KUBE_CONFLICT', 'another one')
    },
    async () => true,
    async () => {
      throw new CodedError('KUBE_UNAVAILABLE', 'away')
    },
  ]
  const writer = {
    remove: async (_resource: unknown, namespace: string | undefined, _name: string, precondition?: { uid?: string }) => {
      removed.push([namespace, precondition])
      return (answers.shift() ?? (async () => true))()
    },
  }
  const term = new AbortController()
  const tidying = tidyFinished({ writer, caches, clock: time.clock, timers: time.timers, logger: lines.log }, term.signal)
  await settle()
  t.strictSame(removed, [], 'not at once: a new leader has more urgent work')
  await time.advance(60_000)
  const beyond = [MAX_FINISHED, MAX_FINISHED + 1, MAX_FINISHED + 2].map((number) => ['shared', { uid: `request-${number}` }])
  t.strictSame(removed, beyond)
  await time.advance(60_000)
  t.strictSame(removed, [...beyond, beyond[0]], 'a failure ends the round')
  term.abort()
  await tidying
  await time.advance(600_000)
  t.equal(removed.length, 4)
  t.strictSame(lines.messages(), [
    'info finished access requests were deleted: their workload namespaces had too many',
    'warn a finished access request that is one too many could not be deleted; tried again in a minute',
  ])
})
