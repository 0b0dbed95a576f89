/** Cost follows what changes: with many open requests in one namespace, a change is work for the requests that it touches. */
import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONNECTORS, PODS } from '../../src/kube/resources.ts'
import { controllerBench, edit, gatedPod, putScene, TASKS, type Bench, type Replica } from '../support/controller-bench.ts'
import { controllerProcess } from '../support/controller-process.ts'
import { settle } from '../support/fake-time.ts'
import { linesOf, requestOf, taskOf } from '../support/request-facts.ts'

const COUNT = 2_000

/** Reconciles so far, by loop. */
const reconciles = async ({ controller }: Replica): Promise<{ requests: number; policies: number }> => {
  const text = await (await fetch(`http://127.0.0.1:${controller.metricsPort}/metrics`)).text()
  const of = (loop: string): number =>
    [...text.matchAll(new RegExp(`^access_gate_reconciles_total\\{loop="${loop}",outcome="\\w+"\\} (\\d+)$`, 'gm'))].reduce((sum, [, count]) => sum + Number(count), 0)
  return { requests: of('access-request'), policies: of('access-policy') }
}

/** One settled request, made anew for every Pod. */
const templateOf = async (bench: Bench): Promise<(index: number) => AccessRequest> => {
  putScene(bench)
  const { controller } = await bench.start('first')
  await controller.stop()
  const settled = JSON.stringify(requestOf({ status: bench.request()?.status ?? {} }))
  for (const [resource, namespace, name] of [[ACCESS_REQUESTS, 'connectors-shared', 'prod-harbor-build-pod'], [PODS, 'cicd', 'build-pod'], [TASKS, 'cicd', 'deploy']] as const) bench.kube.drop(resource, namespace, name)
  return (index) => JSON.parse(settled.replaceAll(/build-pod|pod-1|run-1|deploy|request-1/g, (word) => `${word}-${index}`))
}

await test('2,000 open requests in one namespace', async (t) => {
  const bench = controllerBench(t)
  const settledFor = await templateOf(bench)
  for (let index = 0; index < COUNT; index++) {
    bench.kube.put(PODS, gatedPod({ metadata: { name: `build-pod-${index}`, uid: `pod-1-${index}`, labels: { 'tekton.dev/pipelineRun': `run-1-${index}` } } }))
    bench.kube.put(TASKS, taskOf(`deploy-${index}`, 'pending', { labels: { run: `run-1-${index}` } }))
    bench.kube.put(ACCESS_REQUESTS, settledFor(index))
  }
  const calls = bench.kube.calls.length
  bench.newWrites()
  const replica = await bench.start('one', controllerProcess(bench.kube))
  await bench.time.advance(2_000)

  await t.test('a new leader looks at all of them, asks nothing about any and writes nothing', async (u) => {
    u.equal(replica.controller.leading(), true)
    u.strictSame([await reconciles(replica), bench.newWrites()], [{ requests: COUNT, policies: 1 }, []])
    u.ok(bench.kube.calls.length - calls < 50, `${bench.kube.calls.length - calls} calls`)
  })

  /** What happens, and how many requests and policies are looked at for it. */
  const HAPPENINGS: Record<string, { does: () => void; looks: [requests: number, policies: number] }> = {
    'an ApprovalTask says something new': { does: () => bench.kube.put(TASKS, taskOf('deploy-7', 'pending', { labels: { run: 'run-1-7', touched: 'yes' } })), looks: [1, 0] },
    'an ApprovalTask is approved, and the grant is made': { does: () => bench.kube.put(TASKS, taskOf('deploy-8', 'approved', { labels: { run: 'run-1-8' } })), looks: [1, 0] },
    'an ApprovalTask of no request comes': { does: () => bench.kube.put(TASKS, taskOf('stranger', 'pending', { labels: { run: 'other' } })), looks: [0, 0] },
    'a Pod is to be deleted': {
      does: () => edit(bench, PODS, 'build-pod-9', (pod) => ({ ...pod, metadata: { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['x'] } })),
      looks: [1, 0],
    },
    'a Pod is gone': { does: () => bench.kube.drop(PODS, 'cicd', 'build-pod-10'), looks: [1, 0] },
    'a granted Pod is gone, and then its Role and RoleBinding': { does: () => bench.kube.drop(PODS, 'cicd', 'build-pod-8'), looks: [2, 0] },
    'a Pod tells of its containers': { does: () => edit(bench, PODS, 'build-pod-11', (pod) => ({ ...pod, metadata: { ...pod.metadata, annotations: { a: 'b' } } })), looks: [0, 0] },
    'a Connector has a heartbeat': { does: () => edit(bench, CONNECTORS, 'prod-harbor', (connector) => ({ ...connector, status: { conditions: [] } })), looks: [0, 0] },
    'another Connector comes': { does: () => bench.kube.put(CONNECTORS, { metadata: { name: 'other', namespace: 'connectors-shared' } }), looks: [0, 1] },
    'a policy is edited': { does: () => edit(bench, ACCESS_POLICIES, 'ask', (policy) => ({ ...policy, spec: { ...policy.spec, connector: { names: ['other'] } } })), looks: [0, 1] },
    'the status of a policy is written': { does: () => edit(bench, ACCESS_POLICIES, 'ask', (policy) => ({ ...policy, status: { ...policy.status, observedGeneration: 99 } })), looks: [0, 0] },
  }
  for (const [name, { does, looks }] of Object.entries(HAPPENINGS)) {
    await t.test(name, async (u) => {
      const before = await reconciles(replica)
      does()
      await settle()
      const after = await reconciles(replica)
      u.strictSame([after.requests - before.requests, after.policies - before.policies], looks)
    })
  }

  await t.test('and all of it happened', async (u) => {
    const lines = (index: number) => linesOf(bench.request(`prod-harbor-build-pod-${index}`)?.status)
    u.match([lines(8).sync, lines(9).pod, lines(10).sync], [/PermissionCleanUp the temporary permission was removed/, /is terminating/, /PermissionCleanUp nothing was granted/])
    u.strictSame(bench.roles(), [])
  })
})
