import { test } from 'tap'
import { discovery } from '../../src/kube/discovery.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { fakeTime } from '../support/fake-time.ts'
import { answer, scriptedServer } from '../support/scripted-server.ts'
import { status } from '../support/status.ts'

const TASKS = { apiVersion: 'gates.access-gate.test/v1', kind: 'Task', plural: 'tasks', namespaced: true }
const LIST = {
  kind: 'APIResourceList',
  resources: [
    { name: 'tasks/status', kind: 'Task', namespaced: true },
    { name: 'tasks', kind: 'Task', namespaced: true },
    { name: 'gates', kind: 'Gate', namespaced: false },
    { name: 'broken', kind: 7 },
  ],
}

const asked = (...args: Parameters<typeof discovery>): { resourceFor: (apiVersion: string, kind: string) => Promise<Resource | undefined> } => {
  const served = discovery(...args)
  return { resourceFor: (apiVersion, kind) => served.resourceFor(apiVersion, kind) }
}

await test('a kind is found by its name, never a subresource of it', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, LIST))
  const { resourceFor } = asked(server.client(), fakeTime().timers)
  t.same(await resourceFor(TASKS.apiVersion, 'Task'), TASKS)
  t.same(await resourceFor(TASKS.apiVersion, 'Gate'), { apiVersion: TASKS.apiVersion, kind: 'Gate', plural: 'gates', namespaced: false })
  t.equal(await resourceFor(TASKS.apiVersion, 'Nothing'), undefined)
  t.equal(await resourceFor('v1', 'Task').then((found) => found?.apiVersion), 'v1')
  t.same(
    server.seen.map(({ url }) => url),
    ['/apis/gates.access-gate.test/v1', '/apis/gates.access-gate.test/v1', '/apis/gates.access-gate.test/v1', '/api/v1'],
  )
})

await test('what is served is remembered for a minute, what is not is asked for each time', async (t) => {
  let isServed = false
  const server = await scriptedServer(t, (_seen, response) => (isServed ? answer(response, 200, LIST) : answer(response, 404, '404 page not found')))
  const time = fakeTime()
  const { resourceFor } = asked(server.client(), time.timers)
  t.same([await resourceFor(TASKS.apiVersion, 'Task'), await resourceFor(TASKS.apiVersion, 'Task')], [undefined, undefined])
  isServed = true
  t.same([await resourceFor(TASKS.apiVersion, 'Task'), await resourceFor(TASKS.apiVersion, 'Task')], [TASKS, TASKS])
  t.equal(server.seen.length, 3)
  isServed = false
  await time.advance(59_999)
  t.same(await resourceFor(TASKS.apiVersion, 'Task'), TASKS)
  await time.advance(1)
  t.equal(await resourceFor(TASKS.apiVersion, 'Task'), undefined)
})

await test('text that is no API version is asked of nobody', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, LIST))
  const { resourceFor } = asked(server.client(), fakeTime().timers)
  for (const apiVersion of ['', '../v1', 'a/b/c', 'group/', 'Group/v1', 'v1?x=1']) t.equal(await resourceFor(apiVersion, 'Task'), undefined, JSON.stringify(apiVersion))
  t.same(server.seen, [])
})

await test('an API server that cannot say is an error, never "not served"', async (t) => {
  let turn = 0
  const server = await scriptedServer(t, (_seen, response) => {
    turn += 1
    if (turn === 1) answer(response, 503, 'service unavailable')
    else if (turn === 2) answer(response, 403, status(403, 'Forbidden', 'no'))
    else answer(response, 200, { kind: 'APIResourceList' })
  })
  const { resourceFor } = asked(server.client(), fakeTime().timers)
  await t.rejects(resourceFor(TASKS.apiVersion, 'Task'), { code: 'KUBE_UNAVAILABLE' })
  await t.rejects(resourceFor(TASKS.apiVersion, 'Task'), { code: 'KUBE_FORBIDDEN' })
  await t.rejects(resourceFor(TASKS.apiVersion, 'Task'), { code: 'KUBE_UNAVAILABLE', message: 'the answer of the API server to discovery is no list of resources' })
})
