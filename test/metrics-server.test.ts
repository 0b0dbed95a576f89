import { Counter, Registry } from 'prom-client'
import { test } from 'tap'
import { buildMetricsServer, registerProcessMetrics } from '../src/metrics-server.ts'
import { logLines } from './support/log-lines.ts'

const build = (health: { live?: string; ready?: string } = {}, register = new Registry()) => {
  const lines = logLines()
  const app = buildMetricsServer({ register, live: () => health.live, ready: () => health.ready, logger: lines.log })
  const get = async (url: string): Promise<[number, string]> => {
    const { statusCode, body } = await app.inject({ method: 'GET', url })
    return [statusCode, body]
  }
  return { app, lines, get }
}

await test('health says why it is not well, and follows what is true now', async (t) => {
  const health: { live?: string; ready?: string } = { ready: 'the cache is not filled yet' }
  const { get } = build(health)
  t.strictSame(await get('/healthz'), [200, 'ok\n'])
  t.strictSame(await get('/readyz'), [503, 'the cache is not filled yet\n'])
  delete health.ready
  health.live = 'the loop is stuck'
  t.strictSame(await get('/healthz'), [503, 'the loop is stuck\n'])
  t.strictSame(await get('/readyz'), [200, 'ok\n'])
})

await test('metrics of the given registry and of the process', async (t) => {
  const register = new Registry()
  new Counter({ name: 'things_total', help: 'Things.', registers: [register] }).inc(3)
  registerProcessMetrics(register)
  const { app } = build({}, register)
  const reply = await app.inject({ method: 'GET', url: '/metrics' })
  t.match(reply.headers['content-type'], /^text\/plain; version=0\.0\.4/)
  t.match(reply.body, /^things_total 3$/m)
  t.match(reply.body, /^process_resident_memory_bytes [1-9]\d{6,}$/m)
  t.match(reply.body, /^process_cpu_seconds_total 0?\.?\d/m)
})

await test('a registry that fails is a 500 without the reason, which is logged', async (t) => {
  const register = new Registry()
  register.registerMetric(
    new Counter({
      name: 'broken_total',
      help: 'Broken.',
      registers: [],
      collect: () => {
        throw new Error('the secret reason')
      },
    }),
  )
  const { get, lines } = build({}, register)
  t.strictSame(await get('/metrics'), [500, 'the answer could not be made; the log has the reason\n'])
  t.strictSame(lines.messages(), ['error the metrics server failed to answer'])
})

await test('there is nothing else', async (t) => {
  const { app, get } = build()
  t.strictSame(await get('/'), [404, 'there are /metrics, /healthz and /readyz\n'])
  t.equal((await app.inject({ method: 'POST', url: '/metrics', payload: 'x' })).statusCode, 404)
})
