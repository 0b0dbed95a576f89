import fastify, { type FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { Counter, Gauge, type Registry } from 'prom-client'

/** Why something is not fine, as one sentence; undefined when it is. */
export type Health = () => string | undefined

export interface MetricsServerDeps {
  register: Registry
  /** Whether the process should go on living; anything else is restarted. */
  live: Health
  /** Whether it should be sent work. */
  ready: Health
  logger: Logger
}

/** The answer of `/healthz` and `/readyz`: 200, or 503 and why. */
export const healthAnswer = (health: Health): { code: 200 | 503; text: string } => {
  const why = health()
  return why === undefined ? { code: 200, text: 'ok\n' } : { code: 503, text: `${why}\n` }
}

/** `/metrics`, `/healthz` and `/readyz` over plain HTTP, for every role. Does not listen: the role says where. */
export const buildMetricsServer = ({ register, live, ready, logger }: MetricsServerDeps): FastifyInstance => {
  const app = fastify({ logger: false, bodyLimit: 1, requestTimeout: 10_000, forceCloseConnections: true })
  for (const [path, health] of [
    ['/healthz', live],
    ['/readyz', ready],
  ] as const) {
    app.get(path, (_request, reply) => {
      const { code, text } = healthAnswer(health)
      return reply.code(code).type('text/plain; charset=utf-8').send(text)
    })
  }
  app.get('/metrics', async (_request, reply) => {
    const text = await register.metrics()
    return reply.type(register.contentType).send(text)
  })
  app.setNotFoundHandler((_request, reply) => reply.code(404).type('text/plain; charset=utf-8').send('there are /metrics, /healthz and /readyz\n'))
  app.setErrorHandler((error, request, reply) => {
    logger.error({ err: error, url: request.url }, 'the metrics server failed to answer')
    return reply.code(500).type('text/plain; charset=utf-8').send('the answer could not be made; the log has the reason\n')
  })
  return app
}

/** Memory and processor time of the process, read when asked for. */
export const registerProcessMetrics = (register: Registry): void => {
  const memory = new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory.',
    registers: [],
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  const processor = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system processor time.',
    registers: [],
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  register.registerMetric(memory)
  register.registerMetric(processor)
}

/** @param silence seconds by resource, read when asked for */
export const registerWatchSilence = (register: Registry, silence: () => ReadonlyMap<string, number>): void => {
  register.registerMetric(
    new Gauge({
      name: 'access_gate_watch_silence_seconds',
      help: 'Seconds since anything came by the watch, by resource; a sound watch ends and begins anew every 10 to 14 s',
      labelNames: ['resource'],
      registers: [],
      collect() {
        this.reset()
        for (const [resource, seconds] of silence()) this.set({ resource }, seconds)
      },
    }),
  )
}
