import { test } from 'tap'
import { createCaches } from '../../src/controller/caches.ts'
import { createControllerMetrics, type ControllerMetrics, type Observed } from '../../src/controller/metrics.ts'
import { logLines } from '../support/log-lines.ts'
import { requestOf } from '../support/request-facts.ts'

const observed = (more: Partial<Observed> = {}): Observed => ({
  caches: createCaches(logLines().log),
  checks: { sizes: () => new Map() },
  queued: () => 0,
  leading: () => false,
  silence: () => new Map(),
  ...more,
})
/** The samples of a metric as `name{labels} value`. */
const samples = async ({ register }: ControllerMetrics, name: string): Promise<string[]> => {
  const text = await register.getSingleMetricAsString(name)
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

await test('gauges show the moment they are read', async (t) => {
  let leading = false
  let sizes = new Map([['example.com/v1/Scan', 7]])
  const caches = createCaches(logLines().log)
  const metrics = createControllerMetrics(observed({ caches, leading: () => leading, queued: () => 3, checks: { sizes: () => sizes }, silence: () => new Map([['pods', 1.5]]) }))
  t.strictSame(await samples(metrics, 'access_gate_leading'), ['access_gate_leading 0'])
  leading = true
  t.strictSame(await samples(metrics, 'access_gate_leading'), ['access_gate_leading 1'])
  t.strictSame(await samples(metrics, 'access_gate_queue_length'), ['access_gate_queue_length 3'])
  t.strictSame(await samples(metrics, 'access_gate_watch_silence_seconds'), ['access_gate_watch_silence_seconds{resource="pods"} 1.5'])
  caches.requests.put({ ...requestOf(), metadata: { ...requestOf().metadata, resourceVersion: '1' } })
  const kinds = ['requests', 'policies', 'connectors', 'pods', 'configMaps', 'roles', 'bindings']
  const objects = kinds.map((kind) => `access_gate_cached_objects{kind="${kind}"} ${kind === 'requests' ? 1 : 0}`)
  t.strictSame(await samples(metrics, 'access_gate_cached_objects'), [...objects, 'access_gate_cached_objects{kind="example.com/v1/Scan"} 7'])
  sizes = new Map()
  t.strictSame(await samples(metrics, 'access_gate_cached_objects'), objects, 'a kind that is no longer watched is gone')
})

await test('counters count by outcome and reason', async (t) => {
  const metrics = createControllerMetrics(observed())
  metrics.reconciles.inc({ loop: 'access-request', outcome: 'done' })
  metrics.reconciles.inc({ loop: 'access-request', outcome: 'done' })
  metrics.notices.inc({ reason: 'AccessGranted' })
  metrics.seconds.observe({ loop: 'access-request' }, 0.004)
  t.strictSame(await samples(metrics, 'access_gate_reconciles_total'), ['access_gate_reconciles_total{loop="access-request",outcome="done"} 2'])
  t.strictSame(await samples(metrics, 'access_gate_decisions_total'), ['access_gate_decisions_total{reason="AccessGranted"} 1'])
  t.match(await samples(metrics, 'access_gate_reconcile_seconds'), ['access_gate_reconcile_seconds_bucket{le="0.001",loop="access-request"} 0', 'access_gate_reconcile_seconds_bucket{le="0.005",loop="access-request"} 1'])
})

await test('two controllers in one process have metrics of their own', async (t) => {
  const [one, two] = [createControllerMetrics(observed()), createControllerMetrics(observed())]
  one.notices.inc({ reason: 'AccessGranted' })
  t.strictSame(await samples(two, 'access_gate_decisions_total'), [])
})
