import https from 'node:https'
import { t, test } from 'tap'
import { applyManifests } from '../../hack/sandbox/manifests.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { countsComment } from '../../hack/test-run/counts.ts'
import { createClient } from '../../src/kube/client.ts'
import { untilTrue } from '../support/eventually.ts'
import { startLoad, type Load } from '../support/load.ts'
import { ADMISSIONS_A_CREATE, askDirectly, readCaBundle, throughApiServer, untilAnswered, waitForHooks, wrongIn } from '../support/webhook-calls.ts'
import { deploy, startReplica, webhookService, type Replica } from '../support/webhook-service.ts'

const ADMISSIONS = 15_000
const CALLERS = 16
/** Each caller's pace, so that a restart takes place under load and not in the dark of a machine that has nothing left for it. */
const CREATE_EVERY_MS = 120
const ASK_EVERY_MS = 20
/** From SIGTERM until no new connection comes: half of the default drain. */
const ENDPOINT_LAG_MS = 5_000
const WITHIN_MS = 600_000

const cluster = await startControlPlane({ log: () => undefined })
t.teardown(() => cluster.stop())
const kube = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'access-gate-test' })
t.teardown(() => kube.close())
const service = await webhookService(t, ENDPOINT_LAG_MS)
await applyManifests(cluster, service.port)
await waitForHooks(kube)
const namespace = await cluster.namespace('load')
const deployment = await deploy(t, cluster)

const startOne = async (): Promise<Replica> => {
  const replica = await startReplica(t, deployment, ['--self-signed'])
  service.add(replica)
  return replica
}

const throughTheServer = throughApiServer(t, cluster, namespace)
let replicas = [await startOne(), await startOne()]
await untilAnswered(throughTheServer)
let replaced = 0

/** As a Deployment with maxSurge 1 and maxUnavailable 0: the next one is ready before an old one is told to end, which is not waited for. */
const rollOut = async (ends: Promise<number | null>[]): Promise<void> => {
  for (const old of replicas) {
    const next = await startOne()
    replicas = [...replicas.filter((replica) => replica !== old), next]
    ends.push(old.end())
    replaced += 1
  }
}

/** Restarts all replicas at each third of the admissions but the last, so that a slow machine does not restart more than a fast one; waits until the last old one is gone, and for admissions without it. */
const restartUnder = async (load: Load, admissions: () => number): Promise<{ ends: (number | null)[]; replicas: number }> => {
  const before = replaced
  const ends: Promise<number | null>[] = []
  for (const third of [0, 1]) {
    await untilTrue('the load goes on', () => load.failed.length > 0 || admissions() >= (ADMISSIONS * third) / 3, WITHIN_MS)
    await rollOut(ends)
  }
  await untilTrue(`${ADMISSIONS} admissions`, () => admissions() >= ADMISSIONS, WITHIN_MS)
  const codes = await Promise.all(ends)
  const withThem = admissions()
  await untilTrue('admissions without the old ones', () => load.failed.length > 0 || admissions() > withThem, WITHIN_MS)
  await load.stop()
  return { ends: codes, replicas: replaced - before }
}

await test('both replicas restarted under 15,000 admissions of the API server: none fails', async (subtest) => {
  const load = startLoad(CALLERS, CREATE_EVERY_MS, throughTheServer)
  const admissions = (): number => load.answered * ADMISSIONS_A_CREATE
  const { ends, replicas: count } = await restartUnder(load, admissions)
  subtest.comment(countsComment({ 'admissions through the API server': admissions(), failed: load.failed.length, 'replicas replaced': count, 'replicas called': service.connections.size }))
  subtest.strictSame(load.failed.slice(0, 10), [])
  subtest.equal(load.failed.length, 0)
  subtest.ok(admissions() >= ADMISSIONS)
  subtest.strictSame(new Set(ends), new Set([0]), 'every old replica ended in order')
  // Not each of them: connections that are left behind one by one may all come to the one that was ready first, and are kept there.
  const taken = replicas.map(({ port }) => service.connections.get(port) ?? 0)
  subtest.ok(Math.max(...taken) > 0, 'the API server has gone over to the new ones')
  const ca = await readCaBundle(kube)
  for (const { port } of replicas) subtest.equal(wrongIn(await askDirectly(port, ca)), undefined, 'and each of them answers')
})

await test('both replicas restarted under 15,000 admissions over 16 kept connections: none fails', async (subtest) => {
  const ca = await readCaBundle(kube)
  const agents = Array.from({ length: CALLERS }, () => new https.Agent({ keepAlive: true, maxSockets: 1 }))
  subtest.teardown(() => agents.forEach((agent) => agent.destroy()))
  let closing = 0
  const load = startLoad(CALLERS, ASK_EVERY_MS, async (caller) => {
    const reply = await askDirectly(service.port, ca, agents[caller])
    if (reply.connection === 'close') closing += 1
    return wrongIn(reply)
  })
  const { ends, replicas: count } = await restartUnder(load, () => load.answered)
  subtest.comment(countsComment({ [`admissions over ${CALLERS} kept connections`]: load.answered, failed: load.failed.length, 'replicas replaced': count, 'replies that asked to close': closing }))
  subtest.strictSame(load.failed.slice(0, 10), [])
  subtest.equal(load.failed.length, 0)
  subtest.ok(load.answered >= ADMISSIONS)
  subtest.ok(closing >= CALLERS, 'each kept connection was asked to close')
  subtest.strictSame(new Set(ends), new Set([0]), 'every old replica ended in order')
})
