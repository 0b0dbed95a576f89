/** Addresses as Go's net/url reads them, which keeps what is written where the WHATWG rules would change it. */

export interface UrlParts {
  scheme: string
  userinfo: string
  host: string
  hostname: string
  path: string
  query: string
  opaque: string
  fragment: string
}

/** Beyond ASCII control characters are let through. */
const CONTROL = /(?=\p{Cc})\p{ASCII}/u
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]*):/
const USER = /^[A-Za-z0-9\-._:~!$&'()*+,;=%@]*$/
/** Letters beyond ASCII are let through, as Go does; percent signs are not. Control characters were refused before. */
const HOST = /^[^ #%/?@\\^`{|}]*$/
const PORT = /^(?::[0-9]*)?$/

/** Like Go's QueryEscape: a space is "+", all but letters, digits and "-_.~" is percent-encoded. */
export const queryEscaped = (text: string): string =>
  encodeURIComponent(text)
    .replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+')

/** Percent-encodes what is not a letter, a digit or one of "-_.~", a space as well. */
export const percentEncoded = (text: string): string => queryEscaped(text).replaceAll('+', '%20')

const decoded = (text: string): string | undefined => {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    // A "%" without two digits, or bytes that are no text.
    return undefined
  }
}

/** As Go writes a user and a password back. */
const userEscaped = (text: string): string => percentEncoded(text).replaceAll(/%(?:24|26|2B|2C|3B|3D)/g, (code) => decodeURIComponent(code))

const readUser = (text: string): string | undefined => {
  if (!USER.test(text)) return undefined
  const colon = text.indexOf(':')
  const parts = colon < 0 ? [text] : [text.slice(0, colon), text.slice(colon + 1)]
  const plain = parts.map(decoded)
  return plain.every((part) => part !== undefined) ? plain.map((part) => userEscaped(part ?? '')).join(':') : undefined
}

const hostnameOf = (host: string): string | undefined => {
  if (host.startsWith('[')) {
    const end = host.lastIndexOf(']')
    return end > 0 && PORT.test(host.slice(end + 1)) ? host.slice(1, end) : undefined
  }
  const colon = host.lastIndexOf(':')
  if (colon < 0) return host
  return PORT.test(host.slice(colon)) ? host.slice(0, colon) : undefined
}

/** What stands between "//" and the path. */
const readAuthority = (text: string): Pick<UrlParts, 'userinfo' | 'host' | 'hostname'> | undefined => {
  const sign = text.lastIndexOf('@')
  const host = text.slice(sign + 1)
  const userinfo = sign < 0 ? '' : readUser(text.slice(0, sign))
  const hostname = HOST.test(host) ? hostnameOf(host) : undefined
  return userinfo === undefined || hostname === undefined ? undefined : { userinfo, host, hostname }
}

const splitAt = (text: string, sign: string): [string, string] => {
  const at = text.indexOf(sign)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

/** The parts of an address or a reference; undefined for what Go's url.Parse refuses, and for a host that is percent-encoded. */
export const parseUrl = (text: string): UrlParts | undefined => {
  if (CONTROL.test(text)) return undefined
  const [beforeFragment, rawFragment] = splitAt(text, '#')
  const scheme = SCHEME.exec(beforeFragment)?.[1] ?? ''
  const [rest, query] = splitAt(scheme === '' ? beforeFragment : beforeFragment.slice(scheme.length + 1), '?')
  const fragment = decoded(rawFragment)
  if (fragment === undefined || beforeFragment.startsWith(':')) return undefined
  const base = { scheme: scheme.toLowerCase(), userinfo: '', host: '', hostname: '', path: '', query, opaque: '', fragment }
  if (scheme !== '' && rest !== '' && !rest.startsWith('/')) return { ...base, opaque: rest }
  if (scheme === '' && (rest.split('/', 1)[0] ?? '').includes(':')) return undefined
  const hasAuthority = rest.startsWith('//') && (scheme !== '' || !rest.startsWith('///'))
  const slash = hasAuthority ? rest.indexOf('/', 2) : 0
  const authority = hasAuthority ? readAuthority(rest.slice(2, slash < 0 ? undefined : slash)) : { userinfo: '', host: '', hostname: '' }
  const path = decoded(slash < 0 ? '' : rest.slice(slash))
  return authority === undefined || path === undefined ? undefined : { ...base, ...authority, path }
}
