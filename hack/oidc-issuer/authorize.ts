/** `/authorize`: what is asked for, and the page on which somebody says who they are. There are no passwords: it runs on one machine. */
import { escapeHtml } from '../../src/auth/oidc/html.ts'

/** A request for a code that was found good. */
export interface AuthorizationRequest {
  redirectUri: string
  state: string | undefined
  nonce: string | undefined
  challenge: string
}

export interface AuthorizeRules {
  clientId: string
  redirectUris: readonly string[]
}

/** `page`: the one who asks is not known, so the browser is sent nowhere. */
export type AuthorizeReading =
  | { kind: 'good'; request: AuthorizationRequest }
  | { kind: 'page'; problem: string }
  | { kind: 'error'; redirectUri: string; state: string | undefined; error: string; description: string }

/** Of S256: 32 bytes in base64url. */
const CHALLENGE = /^[\w-]{43}$/

export const readAuthorization = (parameters: URLSearchParams, { clientId, redirectUris }: AuthorizeRules): AuthorizeReading => {
  for (const name of new Set(parameters.keys())) if (parameters.getAll(name).length > 1) return { kind: 'page', problem: 'a parameter was sent twice' }
  const get = (name: string): string | undefined => parameters.get(name) ?? undefined
  const redirectUri = get('redirect_uri')
  if (get('client_id') !== clientId) return { kind: 'page', problem: 'there is no such client' }
  if (redirectUri === undefined || !redirectUris.includes(redirectUri)) return { kind: 'page', problem: 'the redirect URI is none of this client' }
  const state = get('state')
  const refuse = (error: string, description: string): AuthorizeReading => ({ kind: 'error', redirectUri, state, error, description })
  if (get('response_type') !== 'code') return refuse('unsupported_response_type', 'there is response_type=code alone')
  if (!(get('scope') ?? '').split(' ').includes('openid')) return refuse('invalid_scope', 'the scope must hold openid')
  const challenge = get('code_challenge')
  if (get('code_challenge_method') !== 'S256' || challenge === undefined || !CHALLENGE.test(challenge)) return refuse('invalid_request', 'PKCE with S256 is required')
  return { kind: 'good', request: { redirectUri, state, nonce: get('nonce'), challenge } }
}

const document = (body: string): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Local sign-in</title></head><body><h1>Local sign-in</h1>${body}</body></html>\n`

export const problemPage = (problem: string): string => document(`<p>${escapeHtml(problem)}</p>`)

/** One button for each user, and one to turn back; everything that was asked for goes along and is read again. */
export const pickPage = (parameters: URLSearchParams, users: readonly string[]): string => {
  const hidden = [...parameters].map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`).join('')
  const buttons = users.map((user) => `<p><button name="user" value="${escapeHtml(user)}">${escapeHtml(user)}</button></p>`).join('')
  return document(`<form method="post" action="/authorize">${hidden}${buttons}<p><button name="deny" value="1">Cancel</button></p></form>`)
}
