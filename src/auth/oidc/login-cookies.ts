/**
 * One cookie for each sign-in that has begun, named after its state: tabs that sign in at the same moment do not overwrite each
 * other's. Host-only by its name's prefix, which browsers enforce: a workspace at a sister host can set none that we would take.
 */
import type { LoginSeal } from './login-seal.ts'

export interface CookieRules {
  /** Secure, and the name prefix that needs it; false only for plain http on a developer's machine. */
  secure: boolean
}

export interface LoginCookies {
  /** Every value of the cookie for this state: a browser may hold several of one name. */
  valuesFor(header: string | undefined, state: string): string[]
  /** @param value '' takes the cookie away */
  setCookie(state: string, value: string): string
  /**
   * The Set-Cookie lines that make room for one more: what is no sign-in under way goes, then the oldest.
   * @param size characters of the new value
   */
  makeRoom(header: string | undefined, size: number, seal: Pick<LoginSeal, 'open'>): Promise<string[]>
}

/** Seconds between /login and /callback. */
export const LOGIN_SECONDS = 600
const BASE_NAME = 'access-gate-login-'
/** Characters of the state that name its cookie. */
const TAG = 16
/** Of all such cookies; proxies take 8 KiB of cookies at most, and the session is among them. */
const MAX_COOKIES = 5
const MAX_CHARACTERS = 3_500
/** More than a browser can have from us; what is beyond is not looked at. */
const LOOKED_AT = 16

interface Held {
  name: string
  value: string
}

const cookiesIn = (header: string | undefined, prefix: string): Held[] => {
  const found: Held[] = []
  for (const pair of (header ?? '').split(';')) {
    const at = pair.indexOf('=')
    const name = pair.slice(0, at).trim()
    if (at > 0 && name.startsWith(prefix)) found.push({ name, value: pair.slice(at + 1).trim() })
  }
  return found
}

/** Names that are none of ours never go into a header of ours. */
const OWN_TAG = new RegExp(`^[\\w-]{${TAG}}$`)

export const createLoginCookies = ({ secure }: CookieRules): LoginCookies => {
  const prefix = `${secure ? '__Host-' : ''}${BASE_NAME}`
  const nameOf = (state: string): string => `${prefix}${state.slice(0, TAG)}`
  const line = (name: string, value: string): string =>
    `${name}=${value}; Path=/; Max-Age=${value === '' ? 0 : LOGIN_SECONDS}; HttpOnly;${secure ? ' Secure;' : ''} SameSite=Lax`

  return {
    valuesFor: (header, state) => {
      const name = nameOf(state)
      return cookiesIn(header, prefix)
        .filter((cookie) => cookie.name === name && cookie.value !== '')
        .slice(0, LOOKED_AT)
        .map(({ value }) => value)
    },

    setCookie: (state, value) => line(nameOf(state), value),

    makeRoom: async (header, size, seal) => {
      const held = cookiesIn(header, prefix).filter(({ name }) => OWN_TAG.test(name.slice(prefix.length)))
      const looked = await Promise.all(held.slice(0, LOOKED_AT).map(async ({ name, value }) => ({ name, size: value.length, login: await seal.open(value) })))
      const newestFirst = looked.filter(({ login }) => login !== undefined).toSorted((a, b) => (b.login?.expiresAt ?? 0) - (a.login?.expiresAt ?? 0))
      const kept = new Set<string>()
      let total = size
      for (const cookie of newestFirst) {
        total += cookie.size
        if (kept.size + 1 >= MAX_COOKIES || total > MAX_CHARACTERS) break
        kept.add(cookie.name)
      }
      const gone = new Set(held.map(({ name }) => name).filter((name) => !kept.has(name)))
      return [...gone].map((name) => line(name, ''))
    },
  }
}
