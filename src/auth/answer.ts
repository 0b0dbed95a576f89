/** What the routes answer: one line of text, or nothing, or JSON. */
import type { IncomingMessage } from 'node:http'

export interface AuthAnswer {
  code: number
  /** One line without its end; left out: no body. */
  text?: string
  json?: object
  /** The value of Set-Cookie. */
  cookie?: string
  /** Where to go on, a path. */
  location?: string
  /** For those who come at a bad moment, seconds. */
  retryAfter?: number
  /** The one method that is taken. */
  allow?: 'GET'
}

export type Route = (request: IncomingMessage) => Promise<AuthAnswer>

export const textAnswer = (code: number, text: string): AuthAnswer => ({ code, text })

export const INTERNAL_ERROR = textAnswer(500, 'Internal server error')
export const METHOD_NOT_ALLOWED: AuthAnswer = { code: 405, text: 'Method not allowed', allow: 'GET' }

export const TEXT_TYPE = 'text/plain; charset=utf-8'
export const JSON_TYPE = 'application/json'

/** On every answer: what is said here is for one browser at one moment, and addresses may hold tokens. */
export const COMMON_HEADERS = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const
