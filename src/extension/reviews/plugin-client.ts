/** Remote access plugins: they make the sessions that desktop editors connect through. */
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { own } from '../../core/json-shape.ts'
import { errorCode, isCoded } from '../../errors.ts'
import { sleep, type Timers } from '../../kube/timers.ts'
import { unavailable, type ApiFailure } from '../api-failure.ts'

const PATH = '/v1alpha1/remote-access/create-session'
/** Of one attempt, milliseconds. */
const CALL_MS = 30_000
const ATTEMPTS = 4
/** Between two attempts, milliseconds. */
const PAUSE_MS = 500
/** Bytes of an answer, and characters of the address in it. */
const MAX_ANSWER = 65_536
const MAX_URL = 8_192

export interface SessionRequest {
  podUID: string
  workspaceName: string
  namespace: string
  connectionType: string
  connectionContext: Readonly<Record<string, string>>
}

export type SessionOutcome = { ok: true; url: string } | { ok: false; failure: ApiFailure; verdict: string }

export interface PluginClient {
  /** By name, those that there is an address of. */
  readonly plugins: Pick<ReadonlySet<string>, 'has'>
  /** @param plugin one of those. Failures say nothing of where it is, since whoever asks has no business there */
  createSession(plugin: string, session: SessionRequest, signal: AbortSignal): Promise<SessionOutcome>
}

export interface PluginClientDeps {
  /** http or https URLs, by name. */
  endpoints: ReadonlyMap<string, string>
  timers: Timers
  logger: Logger
}

const newId = (): string => randomBytes(8).toString('hex')

/** The connection was refused, or ended before there was an answer: the plugin may just be starting. */
const PASSING = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])
const isPassing = (error: unknown): boolean => error instanceof Error && PASSING.has(errorCode(error.cause) ?? errorCode(error) ?? '')

const readText = async (response: Response): Promise<string | undefined> => {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > MAX_ANSWER) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const json = (text: string | undefined): unknown => {
  try {
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    // What it is instead may hold anything, and says no more than that it is no JSON.
    return undefined
  }
}

/** Printable, and an address of whatever scheme. */
const isAddress = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_URL && /^[!-~]+$/.test(value) && URL.canParse(value)

export const createPluginClient = ({ endpoints, timers, logger }: PluginClientDeps): PluginClient => {
  const fail = (plugin: string, requestId: string, what: string, failure: ApiFailure, verdict: string, error?: unknown): SessionOutcome => {
    logger.warn({ plugin, requestId, ...(error === undefined ? {} : { err: error }) }, `a session was not made: ${what}`)
    return { ok: false, failure, verdict }
  }

  /** One attempt, from the connection to the last byte. */
  const attempt = async (url: string, body: string, headers: Record<string, string>, signal: AbortSignal): Promise<{ status: number; text: string | undefined }> => {
    const late = new AbortController()
    const cancel = timers.after(CALL_MS, () => late.abort(new Error(`no answer within ${CALL_MS / 1000} s`)))
    try {
      const response = await fetch(url, { method: 'POST', body, headers, redirect: 'manual', signal: AbortSignal.any([signal, late.signal]) })
      if (response.ok) return { status: response.status, text: await readText(response) }
      await response.body?.cancel()
      return { status: response.status, text: undefined }
    } finally {
      cancel()
    }
  }

  return {
    plugins: endpoints,
    createSession: async (plugin, session, signal) => {
      const url = `${(endpoints.get(plugin) ?? '').replace(/\/+$/, '')}${PATH}`
      const originId = newId()
      const body = JSON.stringify(session)
      for (let count = 1; ; count += 1) {
        const requestId = newId()
        const headers = { 'content-type': 'application/json', accept: 'application/json', 'x-plugin-request-id': requestId, 'x-origin-request-id': originId }
        try {
          const { status, text } = await attempt(url, body, headers, signal)
          const connection = own(json(text), 'connectionURL')
          if (isAddress(connection)) return { ok: true, url: connection }
          const failure: ApiFailure = { code: 502, reason: 'InternalError', message: `the remote access plugin did not make a session; its log has more under request ${originId}` }
          return fail(plugin, originId, `the plugin answered ${status}${status < 300 ? ' without an address' : ''}`, failure, 'plugin failed')
        } catch (error) {
          if (isCoded(error)) throw error
          if (isPassing(error) && count < ATTEMPTS && !signal.aborted) {
            await sleep(timers, PAUSE_MS, signal)
            if (!signal.aborted) continue
          }
          return fail(plugin, originId, 'the plugin could not be reached', unavailable('the remote access plugin cannot be reached now; try again', 5), 'plugin unreachable', error)
        }
      }
    },
  }
}
