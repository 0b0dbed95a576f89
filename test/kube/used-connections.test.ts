/** What becomes of a call whose connection turns out to be closed: an API server that was restarted, or that gave the connection up just then. */
import type { ServerResponse } from 'node:http'
import { test, type Test } from 'tap'
import type { KubeApi } from '../../src/kube/api.ts'
import { connectionReviews } from '../../src/kube/connection-reviews.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { permission } from '../../src/kube/permission.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'
import { tokenIssuer } from '../../src/kube/token-issuer.ts'
import { fakeTime } from '../support/fake-time.ts'
import { answer, scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'
import { untilTrue } from '../support/eventually.ts'

const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'ns' } }
const ANSWERED = { ...configMap, status: { allowed: true, authenticated: true, user: { username: 'alice' }, token: 't', expirationTimestamp: '2026-01-02T03:04:05Z' } }
/** As many connections as a client has. */
const MOST = 100

const CALLS: Record<string, { sent: 'again' | 'once'; call: (api: KubeApi) => Promise<unknown> }> = {
  'a read': { sent: 'again', call: (api) => api.get(CONFIG_MAPS, 'ns', 'a') },
  'a SubjectAccessReview': { sent: 'again', call: (api) => permission(api).allows({ user: 'alice', groups: [] }, { group: '', resource: 'pods', verb: 'get' }) },
  'a ConnectionAccessReview': { sent: 'again', call: (api) => connectionReviews(api).mayConnect({ namespace: 'ns', name: 'nb' }, { user: 'alice', groups: [] }) },
  'a TokenRequest': {
    sent: 'again',
    call: (api) => tokenIssuer(api).issueToken({ serviceAccount: { namespace: 'ns', name: 'sa' }, pod: { name: 'p', uid: 'u' }, audience: 'a', seconds: 600 }),
  },
  'a BearerTokenReview, which uses the token up': { sent: 'once', call: (api) => connectionReviews(api).reviewToken('ns', 'boot.strap.token') },
  'a create': { sent: 'once', call: (api) => api.create(CONFIG_MAPS, configMap) },
  'a replace': { sent: 'once', call: (api) => api.replace(CONFIG_MAPS, configMap) },
  'a patch': { sent: 'once', call: (api) => api.mergePatch(CONFIG_MAPS, 'ns', 'a', {}) },
  'a removal': { sent: 'once', call: (api) => api.remove(CONFIG_MAPS, 'ns', 'a') },
}

const CUTS: Record<string, (response: ServerResponse) => void> = {
  closed: (response) => response.destroy(),
  reset: (response) => response.socket?.resetAndDestroy(),
}

/** `answered`, or the code of the error. */
const outcomeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'answered',
    (error: unknown) => (error instanceof KubeError ? error.code : String(error)),
  )

interface World {
  server: ScriptedServer
  api: KubeApi
  /** The next calls that come have their connections cut. */
  cutNext: (calls: number) => void
}

const world = async (t: Test, cut: (response: ServerResponse) => void): Promise<World> => {
  let toCut = 0
  const server = await scriptedServer(t, (_seen, response) => {
    if (toCut === 0) return answer(response, 200, ANSWERED)
    toCut -= 1
    cut(response)
  })
  return { server, api: server.client(), cutNext: (calls) => (toCut = calls) }
}

for (const [how, cut] of Object.entries(CUTS)) {
  await test(`a call on a used connection that is ${how} is sent once more over a new one, if it stores nothing`, async (t) => {
    for (const [what, { sent, call }] of Object.entries(CALLS)) {
      const { server, api, cutNext } = await world(t, cut)
      await api.get(CONFIG_MAPS, 'ns', 'a')
      cutNext(1)
      t.equal(await outcomeOf(call(api)), sent === 'again' ? 'answered' : 'KUBE_UNAVAILABLE', what)
      t.strictSame([server.seen.length, server.connections.total], sent === 'again' ? [3, 2] : [2, 1], what)
    }
  })

  await test(`a call on a new connection that is ${how} is not sent again, nor is one a third time`, async (t) => {
    for (const [what, { sent, call }] of Object.entries(CALLS)) {
      const { server, api, cutNext } = await world(t, cut)
      cutNext(3)
      t.equal(await outcomeOf(call(api)), 'KUBE_UNAVAILABLE', what)
      t.equal(server.seen.length, 1, what)
      cutNext(0)
      await api.get(CONFIG_MAPS, 'ns', 'a')
      cutNext(3)
      t.equal(await outcomeOf(call(api)), 'KUBE_UNAVAILABLE', what)
      t.equal(server.seen.length, sent === 'again' ? 4 : 3, what)
    }
  })
}

await test('the connection of a call that had to wait for one is used, too', async (t) => {
  for (const [what, { sent, call }] of Object.entries(CALLS)) {
    const held: ServerResponse[] = []
    let isCut = false
    const server = await scriptedServer(t, ({ url }, response) => {
      if (url === '/held') held.push(response)
      else if (isCut) answer(response, 200, ANSWERED)
      else {
        isCut = true
        response.destroy()
      }
    })
    const api = server.client()
    const holding = Promise.all(Array.from({ length: MOST }, () => api.request({ method: 'GET', path: '/held' })))
    await untilTrue('all connections are taken', () => held.length === MOST)
    const waiting = outcomeOf(call(api))
    const [first, ...others] = held
    if (first !== undefined) answer(first, 200, {})
    t.equal(await waiting, sent === 'again' ? 'answered' : 'KUBE_UNAVAILABLE', what)
    t.equal(server.seen.length - MOST, sent === 'again' ? 2 : 1, what)
    for (const response of others) answer(response, 200, {})
    await holding
  }
})

await test('both tries have the time of one call', async (t) => {
  const time = fakeTime()
  let asked = 0
  const server = await scriptedServer(t, ({ method }, response) => {
    if (method === 'GET') return answer(response, 200, configMap)
    asked += 1
    if (asked === 1) response.destroy()
  })
  const api = server.client({ timers: time.timers, requestTimeoutMs: 10_000 })
  await api.get(CONFIG_MAPS, 'ns', 'a')
  const outcome = outcomeOf(connectionReviews(api).mayConnect({ namespace: 'ns', name: 'nb' }, { user: 'alice', groups: [] }))
  await untilTrue('it was sent again', () => asked === 2)
  t.equal(time.pendingTimers, 1)
  await time.advance(5_000)
  t.equal(await outcome, 'KUBE_UNAVAILABLE')
  t.equal(time.pendingTimers, 0)
})
