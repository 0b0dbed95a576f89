/** Whom a front proxy says a request comes from. To be read only when the front proxy itself was verified. */
import type { FrontProxyConfig } from './front-proxy-config.ts'

export interface ProxiedIdentity {
  user: string
  uid?: string
  groups: string[]
  extra: Record<string, string[]>
}

type HeaderConfig = Pick<FrontProxyConfig, 'usernameHeaders' | 'uidHeaders' | 'groupHeaders' | 'extraPrefixes'>

/** The ones that everybody uses, whatever the configuration says; with Authorization, they are for nobody behind the authentication. */
const STANDARD = /^(x-remote-(user|uid|group)|x-remote-extra-.*|authorization)$/

const BEYOND_ASCII = /[\u0080-\u00ff]/

/** @throws TypeError for what is no UTF-8 */
const toText = (value: string): string => {
  if (!BEYOND_ASCII.test(value)) return value
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(value, (character) => character.charCodeAt(0)))
}

const decodedKey = (key: string): string => {
  try {
    return decodeURIComponent(key)
  } catch {
    // As the API server does: what is no escape stands for itself.
    return key
  }
}

/** `[name, value, name, value…]` as Node has them: each header by itself, values byte by byte. */
export type RawHeaders = readonly string[]

/** The first value of each header, in the order in which the headers are configured. */
const firstOf = (names: readonly string[], values: ReadonlyMap<string, string[]>): string => {
  for (const name of names) {
    const [value = ''] = values.get(name) ?? []
    if (value !== '') return value
  }
  return ''
}

/** @returns undefined when no user is named, or something is no UTF-8 */
export const readProxiedIdentity = (raw: RawHeaders, config: HeaderConfig): ProxiedIdentity | undefined => {
  const values = new Map<string, string[]>()
  const extra = new Map<string, string[]>()
  try {
    for (let index = 0; index + 1 < raw.length; index += 2) {
      const name = (raw[index] ?? '').toLowerCase()
      const prefix = config.extraPrefixes.find((one) => name.startsWith(one))
      const isNamed = config.groupHeaders.includes(name) || config.usernameHeaders.includes(name) || config.uidHeaders.includes(name)
      if (prefix === undefined && !isNamed) continue
      const value = toText(raw[index + 1] ?? '')
      const [into, key] = isNamed ? [values, name] : [extra, decodedKey(name.slice(prefix?.length ?? 0))]
      const before = into.get(key)
      if (before === undefined) into.set(key, [value])
      else before.push(value)
    }
  } catch {
    return undefined
  }
  const user = firstOf(config.usernameHeaders, values)
  if (user === '') return undefined
  const uid = firstOf(config.uidHeaders, values)
  const groups = config.groupHeaders.flatMap((name) => values.get(name) ?? []).filter((group) => group !== '')
  return { user, ...(uid === '' ? {} : { uid }), groups, extra: Object.fromEntries(extra) }
}

/** Whether a header tells, or claims to tell, who sent the request. @param name in lower case */
export const isIdentityHeader = (name: string, config: HeaderConfig | undefined): boolean =>
  STANDARD.test(name) ||
  (config !== undefined &&
    (config.usernameHeaders.includes(name) || config.uidHeaders.includes(name) || config.groupHeaders.includes(name) || config.extraPrefixes.some((prefix) => name.startsWith(prefix))))
