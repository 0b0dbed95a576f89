/** The controller as a process: what it reads, what it says of itself, how it starts and stops. */
import { test, type Test } from 'tap'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { defaultControllerOptions } from '../../src/controller/options.ts'
import { runController, type RunningController } from '../../src/controller/role.ts'
import { ACCESS_REQUESTS, LEASES, PODS } from '../../src/kube/resources.ts'
import { controllerBench, putScene, TASKS } from '../support/controller-bench.ts'
import { controllerProcess } from '../support/controller-process.ts'
import { fakeTime, settle } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube } from '../support/memory-kube.ts'
import { NOW } from '../support/request-facts.ts'

const ask = async ({ metricsPort }: RunningController, path: string): Promise<{ status: number; text: string }> => {
  const response = await fetch(`http://127.0.0.1:${metricsPort}${path}`)
  return { status: response.status, text: await response.text() }
}
const OPTIONS = { ...defaultControllerOptions(), metricsHost: '127.0.0.1', metricsPort: 0, identity: 'one' }

await test('it watches what belongs to gated Pods, requests and grants, and nothing else', async (t) => {
  const bench = controllerBench(t)
  await bench.start()
  const reads = (verb: string) =>
    bench.kube.calls
      .filter((call) => call.verb === verb)
      .map(({ resource, namespace, body }) => [resource, namespace, typeof body === 'object' && body !== null ? Reflect.get(body, 'labelSelector') : undefined])
      .toSorted(([a], [b]) => String(a).localeCompare(String(b)))
  const all = [
    ['accesspolicies', undefined, undefined],
    ['accessrequests', undefined, undefined],
    ['configmaps', 'connectors-system', undefined],
    ['connectors', undefined, undefined],
    ['pods', undefined, 'connectors.alauda.io/gated=true'],
    ['rolebindings', undefined, 'connectors.alauda.io/accessRequest'],
    ['roles', undefined, 'connectors.alauda.io/accessRequest'],
  ]
  t.strictSame([reads('list'), reads('watch')], [all, all])
})

await test('it is ready when everything was read, and asks for the lease then', async (t) => {
  const bench = controllerBench(t)
  const release = bench.kube.hold('list', PODS)
  const { controller } = await bench.start()
  t.strictSame(await ask(controller, '/readyz'), { status: 503, text: 'not read yet: pods\n' })
  t.strictSame(await ask(controller, '/healthz'), { status: 200, text: 'ok\n' })
  t.strictSame([controller.leading(), bench.kube.calls.filter(({ resource }) => resource === LEASES.plural)], [false, []])
  release()
  await controller.ready
  await settle()
  t.strictSame([await ask(controller, '/readyz'), controller.leading()], [{ status: 200, text: 'ok\n' }, true])
})

await test('it is not ready while a watch is silent for too long, and the end of a watch is enough to be heard', async (t) => {
  const bench = controllerBench(t)
  const process = controllerProcess(bench.kube)
  const { controller } = await bench.start('one', process)
  const endWatches = async (times: number): Promise<void> => {
    for (let turn = 0; turn < times; turn++) {
      await bench.time.advance(12_000)
      bench.kube.endWatches()
      await settle()
    }
  }
  await endWatches(10)
  t.equal((await ask(controller, '/readyz')).status, 200)
  process.blind(ACCESS_REQUESTS)
  t.teardown(bench.kube.hold('list', ACCESS_REQUESTS))
  t.teardown(bench.kube.hold('watch', ACCESS_REQUESTS))
  await endWatches(7)
  t.strictSame(await ask(controller, '/readyz'), { status: 503, text: 'nothing was heard of accessrequests for 60 s\n' })
})

await test('its metrics say what it does', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  const { controller } = await bench.start()
  const { text } = await ask(controller, '/metrics')
  for (const line of [
    'access_gate_leading 1',
    'access_gate_queue_length 0',
    'access_gate_cached_objects{kind="requests"} 1',
    'access_gate_cached_objects{kind="roles"} 1',
    'access_gate_cached_objects{kind="openshift-pipelines.org/v1alpha1/ApprovalTask"} 1',
    'access_gate_decisions_total{reason="AccessGranted"} 1',
    'access_gate_watch_silence_seconds{resource="pods"} 0',
    'process_resident_memory_bytes ',
  ])
    t.match(text, line)
})

await test('after a stop nothing is left: no timer, no watch, no open port; a second stop is the first', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  const { controller, logs } = await bench.start()
  await bench.time.advance(10_000)
  const stopped = controller.stop()
  t.equal(controller.stop(), stopped)
  await stopped
  t.strictSame([bench.time.pendingTimers, bench.kube.openWatches, controller.leading()], [0, 0, false])
  await t.rejects(ask(controller, '/healthz'))
  t.match(logs.messages().slice(-1), ['info controller stopped'])
  const calls = bench.kube.calls.length
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await bench.time.advance(60_000)
  t.equal(bench.kube.calls.length, calls)
})

const stopsEarly = async (t: Test, hold: (kube: ReturnType<typeof memoryKube>) => () => void): Promise<void> => {
  const bench = controllerBench(t)
  putScene(bench)
  const release = hold(bench.kube)
  const { controller } = await bench.start()
  const stopped = controller.stop()
  release()
  await stopped
  t.strictSame([bench.time.pendingTimers, bench.kube.openWatches, controller.leading(), bench.kube.writes()], [0, 0, false, []])
}
await test('a stop before everything was read leaves nothing behind', (t) => stopsEarly(t, (kube) => kube.hold('list', PODS)))
await test('a stop while it waits for the kinds of checks leaves nothing behind', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await (await bench.start()).controller.stop()
  const writes = bench.kube.writes().length
  const release = bench.kube.hold('list', TASKS)
  const { controller } = await bench.start('two')
  const stopped = controller.stop()
  release()
  await stopped
  t.strictSame([bench.time.pendingTimers, bench.kube.openWatches, bench.kube.writes().length - writes], [0, 0, 0])
})
await test('a stop while it asks for the lease leaves nothing behind', async (t) => {
  const bench = controllerBench(t)
  const release = bench.kube.hold('get', LEASES)
  const { controller } = await bench.start()
  const stopped = controller.stop()
  release()
  await bench.time.advance(5_000)
  await stopped
  t.strictSame([bench.time.pendingTimers, bench.kube.openWatches], [0, 0])
})

await test('a metrics port that is taken is one sentence, and nothing is left running', async (t) => {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const time = fakeTime(NOW)
  const kube = memoryKube({ now: () => time.clock.now() })
  const run = runController({ ...OPTIONS, metricsPort: port }, kube, { logger: logLines().log, clock: time.clock, timers: time.timers })
  await t.rejects(run, { code: 'CONFIG_INVALID', message: new RegExp(`^the metrics server cannot listen on 127\\.0\\.0\\.1, port ${port}: `) })
  t.strictSame([kube.calls, time.pendingTimers], [[], 0])
})

await test('each process has an identity of its own, in Lease and Events', async (t) => {
  const [one, two] = [defaultControllerOptions(), defaultControllerOptions()]
  t.not(one.identity, two.identity)
  t.strictSame({ ...one, identity: '' }, { metricsHost: '::', metricsPort: 8080, workers: 16, leaseName: 'access-gate-controller', identity: '' })
})
