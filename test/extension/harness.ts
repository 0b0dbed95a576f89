/** The server with kinds and answers of the test's own, without sockets. */
import type { IncomingMessage } from 'node:http'
import type { InjectOptions } from 'fastify'
import { Type } from 'typebox'
import { AnyKey } from '../../src/api/meta.ts'
import type { Authenticate } from '../../src/extension/authentication.ts'
import type { Authorize } from '../../src/extension/authorization.ts'
import type { HealthCheck } from '../../src/extension/health.ts'
import type { ReviewKind, ReviewOutcome, ReviewRequest } from '../../src/extension/review-kind.ts'
import { buildExtensionServer, type ExtensionServer, type ExtensionServerDeps } from '../../src/extension/server.ts'
import { systemTimers } from '../../src/kube/timers.ts'
import { createDrain } from '../../src/serving/drain.ts'
import { createTurns } from '../../src/serving/turns.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'

export const GROUP = 'visits.example.org'
export const COLLECTION = `/apis/${GROUP}/v1alpha1/namespaces/team/visitreviews`

export interface VisitSpec {
  guest: string
  groups?: string[]
  extra?: Record<string, string[]>
  token?: string
  seats?: number
}

const described = (description: string): { description: string } => ({ description })

/** Lets in whoever is called alice. */
export const visitReview = (review?: (request: ReviewRequest<VisitSpec>) => Promise<ReviewOutcome<object>>): ReviewKind<VisitSpec, object> => ({
  group: GROUP,
  version: 'v1alpha1',
  kind: 'VisitReview',
  plural: 'visitreviews',
  singular: 'visitreview',
  description: 'VisitReview asks whether a guest may come.',
  specSchema: Type.Object(
    {
      guest: Type.String(described('Who comes.')),
      groups: Type.Optional(Type.Array(Type.String(), described('With whom.'))),
      extra: Type.Optional(Type.Record(AnyKey, Type.Array(Type.String()), described('What else.'))),
      token: Type.Optional(Type.String(described('A secret.'))),
      seats: Type.Optional(Type.Integer(described('How many.'))),
    },
    described('The visit.'),
  ),
  statusSchema: Type.Object({ allowed: Type.Boolean(described('Whether they may.')) }, described('The answer.')),
  problems: ({ guest, seats = 1 }) => [
    ...(guest === '' ? [{ type: 'FieldValueRequired' as const, field: 'spec.guest', message: 'Required value' }] : []),
    ...(seats < 0 ? [{ type: 'FieldValueInvalid' as const, field: 'spec.seats', message: `Invalid value: ${seats}: must be greater than or equal to 0` }] : []),
  ],
  echo: ({ token: _secret, ...spec }) => ({ ...spec, groups: spec.groups ?? [] }),
  review:
    review ?? (({ spec, namespace }) => Promise.resolve({ ok: true, status: { allowed: spec.guest === 'alice' }, verdict: spec.guest === 'alice' ? 'allowed' : 'denied', subject: spec.guest, object: namespace })),
})

/** A kind with a spec of its own type, as the server takes it. */
export const asKind = <S, T>(kind: ReviewKind<S, T>): ReviewKind => kind

export interface World {
  app: ExtensionServer
  lines: LogLines
  /** kind and verdict of each review. */
  reviewed: [string, string][]
  /** The next answers of /readyz. */
  unready: string | undefined
}

/** Whoever names himself is believed. */
const named: Authenticate = (request: IncomingMessage) => {
  const user = request.headers['x-test-user']
  return typeof user === 'string' ? { state: 'known', caller: { user, groups: ['system:authenticated'], extra: {} } } : { state: 'unknown', why: 'nobody' }
}

const yes: Authorize = () => true

export const world = (overrides: Partial<ExtensionServerDeps> = {}): World => {
  const lines = logLines()
  const reviewed: [string, string][] = []
  const result: { unready: string | undefined } = { unready: undefined }
  const ready: HealthCheck[] = [{ name: 'keys', health: () => result.unready }]
  const app = buildExtensionServer({
    kinds: [asKind(visitReview())],
    authenticate: named,
    authorize: yes,
    turns: createTurns({ atOnce: 4, waiting: 4 }),
    drain: createDrain(),
    live: [],
    ready,
    metricsText: () => Promise.resolve({ text: 'up 1\n', contentType: 'text/plain; version=0.0.4' }),
    metrics: { reviewed: (kind, verdict) => reviewed.push([kind, verdict]), answered: () => undefined, certificate: () => undefined },
    version: { version: '1.2.3' },
    timers: systemTimers,
    logger: lines.log,
    ...overrides,
  })
  return Object.assign(result, { app, lines, reviewed })
}

export const REVIEW = { apiVersion: `${GROUP}/v1alpha1`, kind: 'VisitReview', metadata: { name: 'a' }, spec: { guest: 'alice' } }

type Headers = Record<string, string>

export const JSON_HEADERS: Headers = { 'x-test-user': 'carol', 'content-type': 'application/json', 'accept': 'application/json' }

export const post = (payload: unknown, { url = COLLECTION, headers = {} }: { url?: string; headers?: Headers } = {}): InjectOptions => ({
  method: 'POST',
  url,
  headers: { ...JSON_HEADERS, ...headers },
  payload: typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload),
})

/** The same without headers that are undefined here. */
export const get = (url: string, headers: Headers = {}): InjectOptions => ({ method: 'GET', url, headers: { 'x-test-user': 'carol', ...headers } })
