import { once } from 'node:events'
import net from 'node:net'
import fastify from 'fastify'
import { Registry } from 'prom-client'
import { test } from 'tap'
import { buildMetricsServer } from '../../src/metrics-server.ts'
import { MOST_CONNECTIONS } from '../../src/serving/connection-bounds.ts'
import { createDrain } from '../../src/serving/drain.ts'
import { serveRole } from '../../src/serving/serve-role.ts'
import { fakeTime } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'

const HOST = '127.0.0.1'
const OPTIONS = { host: HOST, port: 0, metricsHost: HOST, metricsPort: 0, drainMs: 10_000, closeMs: 5_000 }

await test('connections on which nothing ever came hold up the end of no role', async (t) => {
  const time = fakeTime()
  const { log, messages } = logLines()
  const app = fastify({ https: null })
  const metricsApp = buildMetricsServer({ register: new Registry(), live: () => undefined, ready: () => undefined, logger: log })
  const source = { start: async () => undefined, ready: Promise.resolve(), stop: async () => undefined }
  const role = await serveRole({ name: 'test', app, metricsApp, source, drain: createDrain(), timers: time.timers, logger: log }, OPTIONS)
  t.equal(app.server.maxConnections, MOST_CONNECTIONS)
  const sockets = [role.port, role.metricsPort].map((port) => net.connect(port, HOST).resume())
  for (const socket of sockets) t.teardown(() => socket.destroy())
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  // Ones that came later are answered: the servers have the unused ones.
  for (const port of [role.port, role.metricsPort]) t.equal((await fetch(`http://${HOST}:${port}/nothing`)).status, 404)
  const closed = Promise.all(sockets.map((socket) => once(socket, 'close')))
  const stopping = role.stop()
  await time.advance(OPTIONS.drainMs)
  await stopping
  await closed
  t.strictSame(messages(), ['info test stopping: serving on until the API server has gone elsewhere', 'info test stopped'])
  t.equal(time.pendingTimers, 0)
})
