/** What the webhook asks the API server fails in every way while Pods are admitted: they are, with a word about their request. */
import { t, test } from 'tap'
import { stringify } from 'yaml'
import { ACCESS_REQUESTS, PODS } from '../../src/kube/resources.ts'
import type { Fate, Rule } from '../support/api-proxy.ts'
import { report, seconds } from '../support/counts.ts'
import { faultWorld } from '../support/fault-world.ts'
import { podManifest } from '../support/gated-world.ts'
import { waitForHooks } from '../support/webhook-calls.ts'

const PODS_EACH = 4

const { world, roles, proxy, judge, makeRequest, decide, untilUsable, untilOver } = await faultWorld(t, { throughProxy: true })
if (proxy === undefined) throw new Error('there is no proxy')
const { kube, shared, work } = world
// Our own deadline is what is asked: a hook that kept none would be given up by the API server, and nobody would be told.
await waitForHooks(kube)

const ofWebhook =
  (isMeant: (call: Parameters<Rule>[0]) => boolean, fate: () => ReturnType<Rule>): Rule =>
  (call) =>
    call.userAgent.endsWith(' webhook') && isMeant(call) ? fate() : 'pass'

const everything = (): boolean => true
const never = (): Promise<Fate> => new Promise(() => undefined)

const FAULTS: Record<string, Rule> = {
  'every call is answered 500': ofWebhook(everything, () => ({ status: 500 })),
  'every call is answered 429': ofWebhook(everything, () => ({ status: 429, retryAfterSeconds: 30 })),
  'every call is cut': ofWebhook(everything, () => 'cut-before'),
  'no call is answered': ofWebhook(everything, never),
  'Connectors cannot be read': ofWebhook(({ resource }) => resource === 'connectors', () => ({ status: 503 })),
  'flags cannot be read': ofWebhook(({ resource }) => resource === 'configmaps', () => ({ status: 500 })),
  'permissions cannot be asked for': ofWebhook(({ resource }) => resource === 'subjectaccessreviews', () => ({ status: 500 })),
  'requests cannot be made': ofWebhook(({ resource, method }) => resource === 'accessrequests' && method === 'POST', () => ({ status: 500 })),
  'requests are made, but the answer is cut': ofWebhook(({ resource, method }) => resource === 'accessrequests' && method === 'POST', () => 'cut-after'),
}

for (const [index, [title, rule]] of Object.entries(FAULTS).entries())
  await test(`${title}: each Pod is admitted, and has a request or a warning`, async (subtest) => {
    proxy.rule(rule)
    const began = performance.now()
    const names = Array.from({ length: PODS_EACH }, (_, number) => `fault-${index}-${number}`)
    const results = await Promise.all(
      names.map((name) => world.kubectl(['create', '-f', '-'], { input: stringify(podManifest(work, name, [`${shared}/harbor`])) })),
    )
    const took = performance.now() - began
    proxy.rule()
    subtest.strictSame(results.map(({ code }) => code), names.map(() => 0), 'all are admitted')
    const pods = await Promise.all(names.map((name) => kube.get(PODS, work, name)))
    const requests = await Promise.all(pods.map(async (pod) => (pod === undefined ? [] : world.requestsOf(pod))))
    const told = results.map(({ stderr }, number) => stderr.includes('Warning: ') || requests[number]?.length === 1)
    subtest.strictSame(told, names.map(() => true), results.map(({ stderr }) => stderr).join())
    report(subtest, { Pods: names.length, 'with a request': requests.flat().length, 'with a warning': results.filter(({ stderr }) => stderr.includes('Warning: ')).length, took: seconds(took) })

    const after = await makeRequest(`after-${index}`)
    await world.requestOf(after)
    await decide(`after-${index}`, 'approved')
    await untilUsable([`after-${index}`])
    for (const name of [...names, `after-${index}`]) await world.deletePod(name)
  })

await test('after all of it nothing is granted that nobody approved, and nothing is left', async (subtest) => {
  await untilOver()
  const { requests, granted, looks: _looks, ...wrong } = await judge.verdict()
  report(subtest, { requests, granted })
  subtest.strictSame(wrong, { open: [], left: [], grantedTwice: [], unapproved: [], toldTwice: [], untold: [] })
  subtest.equal(granted, Object.keys(FAULTS).length)
  subtest.strictSame([roles.webhook.ended(), roles.controller.ended()], [undefined, undefined], 'both still run')
  subtest.strictSame(roles.controller.complaints.filter(({ level }) => level !== 'warn'), [])
  subtest.ok((await kube.list(ACCESS_REQUESTS, { namespace: shared })).items.length > 0)
})
