import { t, test } from 'tap'
import { stringify } from 'yaml'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { untilTrue } from '../support/eventually.ts'
import { gatedWorld, podManifest } from '../support/gated-world.ts'
import { READS, untilReads } from '../support/request-reading.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')

// The one test that waits for a minute; a file of its own, so that others run meanwhile.
await test('Pod hook: the request of a Pod that the API server then refuses goes away by itself, and the other Pod keeps its own', async (subtest) => {
  const pod = await world.pod('twice', ['harbor'])
  const own = await world.requestOf(pod)
  const refused = await world.kubectl(['create', '-f', '-'], { input: stringify(podManifest(work, 'twice', [`${shared}/harbor`])) })
  subtest.match(refused, { code: 1, stderr: /pods "twice" already exists/ })
  const { items } = await kube.list(ACCESS_REQUESTS, { namespace: shared })
  const name = items.find(({ metadata }) => metadata.name !== own.metadata.name)?.metadata.name ?? ''
  const at = { namespace: shared, name }
  await untilReads(kube, at, { reads: { ContextObjectValid: 'Unknown/Pending', Ready: 'Unknown/Pending' }, says: { Ready: 'is not there yet' } })
  // A minute after it was made, and the few seconds after which the controller looks again.
  await untilTrue('the abandoned request is gone', async () => (await kube.get(ACCESS_REQUESTS, shared, name)) === undefined, 90_000)
  const events = await cluster.kubectl(['get', 'events', '-n', shared, '-o', `jsonpath={.items[?(@.involvedObject.name=="${name}")]['reason','message']}`])
  subtest.match(events.stdout, /PodNeverSeen.*never came; the request is deleted/)
  await untilReads(kube, { namespace: shared, name: own.metadata.name }, { reads: READS.waiting })
})
