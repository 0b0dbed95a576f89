/** The whole webhook server without a socket: real hooks over a memory API server. */
import jsonPatch from 'fast-json-patch'
import type { LightMyRequestResponse } from 'fastify'
import { Registry } from 'prom-client'
import { FLAG, FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { Clock } from '../../src/kube/ports.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'
import { systemTimers, type Timers } from '../../src/kube/timers.ts'
import { createDrain, type Drain } from '../../src/serving/drain.ts'
import type { Hook } from '../../webhooks/hook.ts'
import { createHookMetrics } from '../../webhooks/metrics.ts'
import { DEFAULT_WEBHOOK_OPTIONS, type WebhookOptions } from '../../webhooks/options.ts'
import { createHooks } from '../../webhooks/role.ts'
import { buildWebhookServer, type WebhookServer } from '../../webhooks/server.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'

export const NOW = Date.parse('2026-01-02T03:04:05Z')

export interface Harness {
  app: WebhookServer
  kube: MemoryKube
  drain: Drain
  register: Registry
  lines: LogLines
  /** Posts a body as it is. */
  post: (path: string, body: unknown, headers?: Record<string, string>) => Promise<LightMyRequestResponse>
  /** Posts a review with this request in it; the answer's `response`. @throws Error when the status is not 200 */
  ask: (path: string, request: Record<string, unknown>) => Promise<Answered>
  /** A counter's value, with these labels. */
  count: (name: string, labels: Record<string, string>) => Promise<number>
}

/** The `response` of a review, with the patch decoded. */
export interface Answered {
  uid: string
  allowed: boolean
  status?: { code: number; reason: string; message: string; details?: unknown }
  warnings?: string[]
  patchType?: string
  patch?: jsonPatch.Operation[]
}

export interface HarnessOptions {
  options?: Partial<WebhookOptions>
  clock?: Clock
  timers?: Timers
  /** Instead of all hooks. */
  hooks?: Hook[]
  ready?: () => string | undefined
}

export const harness = ({ options = {}, clock = { now: () => NOW }, timers = systemTimers, hooks, ready = () => undefined }: HarnessOptions = {}): Harness => {
  const kube = memoryKube({ now: () => NOW })
  const lines = logLines()
  const drain = createDrain()
  const register = new Registry()
  const metrics = createHookMetrics(register)
  const ports = { reader: kube, writer: kube, permission: kube }
  const app = buildWebhookServer({
    hooks: hooks ?? createHooks({ ...DEFAULT_WEBHOOK_OPTIONS, ...options }, { ...ports, logger: lines.log, clock, timers, metrics }),
    drain,
    live: () => undefined,
    ready,
    metrics,
    logger: lines.log,
    requireClientCertificate: false,
  })
  const post: Harness['post'] = (path, body, headers = { 'content-type': 'application/json' }) =>
    app.inject({ method: 'POST', url: `${path}?timeout=5s`, headers, payload: typeof body === 'string' ? body : JSON.stringify(body) })
  const ask: Harness['ask'] = async (path, request) => {
    const answer = await post(path, review(request))
    if (answer.statusCode !== 200) throw new Error(`${answer.statusCode} ${answer.body}`)
    const { response, ...rest }: { response: Answered & { patch?: string } } = answer.json()
    if (JSON.stringify(rest) !== '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}') throw new Error(`not a review: ${answer.body}`)
    const { patch, ...plain } = response
    return patch === undefined ? plain : { ...plain, patch: JSON.parse(Buffer.from(patch, 'base64').toString('utf8')) }
  }
  const count: Harness['count'] = async (name, labels) => {
    const { values } = (await register.getSingleMetric(name)?.get()) ?? { values: [] }
    return values.find((value) => JSON.stringify(value.labels) === JSON.stringify(labels))?.value ?? 0
  }
  return { app, kube, drain, register, lines, post, ask, count }
}

export const UID = '705ab4f5-6393-11e8-b7cc-42010a800002'

export const review = (request: Record<string, unknown>): Record<string, unknown> => ({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: { uid: UID, operation: 'CREATE', namespace: 'shared', userInfo: { username: 'alice', groups: ['system:authenticated'] }, dryRun: false, ...request },
})

/** The object after the patch, as the API server makes it. */
export const applied = (object: object, { patch = [] }: Answered): unknown => jsonPatch.applyPatch(jsonPatch.deepClone(object), patch, true).newDocument

export const turnFlags = (kube: MemoryKube, data: Record<string, string> = { [FLAG.approval]: 'true', [FLAG.proxyPermissions]: 'true' }): void => {
  kube.put(CONFIG_MAPS, { metadata: { name: FLAGS_CONFIG_MAP, namespace: SYSTEM_NAMESPACE }, data })
}

/** Something of any shape that holds one more field, or another value there; undefined removes it. */
export const changed = (object: object, path: string, value: unknown): Record<string, unknown> => {
  const copy: Record<string, unknown> = structuredClone({ ...object })
  const keys = path.split('.')
  const last = keys.pop() ?? ''
  let at: Record<string, unknown> = copy
  for (const key of keys) at = at[key] as Record<string, unknown>
  if (value === undefined) delete at[last]
  else at[last] = value
  return copy
}
