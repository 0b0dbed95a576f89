/** The address that a browser opens first, from the template of an access strategy. */
import type { KubeObject } from '../api/meta.ts'
import type { Workspace, WorkspaceAccessStrategy } from '../api/workspace.ts'
import { isCoded, messageOf } from '../errors.ts'
import { encodeBase32 } from './base32.ts'
import { textOperand } from './go-template/function-call.ts'
import { FILE_FUNCTIONS, type FunctionSet } from './go-template/functions.ts'
import { parseTemplate } from './go-template/parse.ts'
import { renderParts, type RenderedPart } from './go-template/render.ts'
import { isRecord } from './json-shape.ts'

/** As names of namespaces stand in host names. */
const base32 = (text: string): string => encodeBase32(new TextEncoder().encode(text))

const URL_FUNCTIONS: FunctionSet = new Map([...FILE_FUNCTIONS, ['b32encode', { min: 1, max: 1, apply: (call, operands) => base32(textOperand(call, operands, 0)) }]])

/** Templates name fields as Go does: with a capital letter. */
const goFields = (fields: unknown): object =>
  isRecord(fields) ? Object.fromEntries(Object.entries(fields).map(([name, value]) => [`${name.charAt(0).toUpperCase()}${name.slice(1)}`, value])) : {}

const goObject = ({ metadata: { name, namespace, uid, labels, annotations } }: KubeObject, spec: unknown): object => {
  const meta = { Name: name, Namespace: namespace, UID: uid, Labels: labels, Annotations: annotations }
  return { ...meta, ObjectMeta: meta, Spec: goFields(spec) }
}

export interface ConnectionUrl {
  /** Without the token. */
  url: string
  /** As browsers name it: in lower case, with the port unless it is that of https. */
  host: string
  path: string
}

export type ConnectionUrlReading = { ok: true; url: ConnectionUrl } | { ok: false; problem: string }

const SCHEME = 'https://'
/** Characters. */
const MAX_URL = 4096
/** Nothing of it ends a host or a segment of a path, or has to be encoded. */
const PLAIN = /^[A-Za-z0-9._~-]*$/
const NAME = '[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?'
const HOST = new RegExp(`^(?:${NAME}(?:\\.${NAME})*|\\[[0-9A-Fa-f:.]+\\])(?::[0-9]{1,5})?$`)
/** The end of a host that the template itself writes: values before it choose among the names below one domain, and not the domain itself. */
const DOMAIN = /^[A-Za-z0-9-]*(?:(?:\.[A-Za-z0-9-]+){2,}|\.localhost)(?::[0-9]{1,5})?$/
const PATH = /^(?:\/[A-Za-z0-9._~!$'()*+,;=:@-]*)*$/
const QUERY = /^[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*$/

const bad = (problem: string): ConnectionUrlReading => ({ ok: false, problem: `bearerAuthURLTemplate ${problem}` })

/** What comes before the path, and whether the template decides it. */
const readAuthority = (parts: readonly RenderedPart[]): { authority: string; isOwn: boolean } => {
  let authority = ''
  let afterValues: string | undefined
  for (const [index, { kind, text }] of parts.entries()) {
    const rest = index === 0 ? text.slice(SCHEME.length) : text
    // Values hold no such character.
    const end = rest.search(/[/?#\\]/)
    const taken = end < 0 ? rest : rest.slice(0, end)
    authority += taken
    if (kind === 'value') afterValues = ''
    else if (afterValues !== undefined) afterValues += taken
    if (end >= 0) break
  }
  return { authority, isOwn: afterValues === undefined || DOMAIN.test(afterValues) }
}

/** As browsers read it, so that it is known what they will make of it. */
const parsed = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined)

const checked = (parts: readonly RenderedPart[]): ConnectionUrlReading => {
  const [first] = parts
  if (first?.kind !== 'text' || !first.text.startsWith(SCHEME)) return bad('must begin with https://')
  const text = parts.map((part) => part.text).join('')
  if (text.length > MAX_URL) return bad(`makes an address of more than ${MAX_URL} characters`)
  if (parts.some((part) => part.kind === 'value' && !PLAIN.test(part.text))) return bad('fills in a value that holds more than letters, digits, "-", "_", "." and "~"')
  const { authority, isOwn } = readAuthority(parts)
  if (!HOST.test(authority)) return bad('makes no host name that is good')
  if (!isOwn) return bad('must write the domain itself: values may only stand before it, as in https://{{ .Workspace.Name }}.example.com')
  const rest = text.slice(SCHEME.length + authority.length)
  const [path = '', ...queries] = rest.split('?')
  const query = queries.join('?')
  if (!PATH.test(path) || path.includes('//') || path.split('/').some((segment) => segment === '.' || segment === '..'))
    return bad('makes a path with an empty segment, with dots for one, or with characters that need encoding')
  if (!QUERY.test(query)) return bad('makes a query with characters that need encoding, or a fragment')
  if (/(?:^|&)token=/.test(query)) return bad('must have no query parameter "token": it is added')
  const url = parsed(text)
  const isSame = url !== undefined && url.protocol === 'https:' && url.pathname === (path === '' ? '/' : path) && url.host === authority.toLowerCase().replace(/:443$/, '')
  return isSame ? { ok: true, url: { url: text, host: url.host, path } } : bad('makes an address that browsers read in another way than it is written')
}

/**
 * Renders the address. Scheme and domain are the template's own: no value of an object changes them, ends the host or begins
 * another segment of the path.
 */
export const renderConnectionUrl = (template: string, workspace: Workspace, strategy: WorkspaceAccessStrategy): ConnectionUrlReading => {
  const data = { Workspace: goObject(workspace, workspace.spec), AccessStrategy: goObject(strategy, strategy.spec) }
  try {
    // The line end of a YAML block is no part of an address.
    return checked(renderParts(parseTemplate('bearerAuthURLTemplate', template.trim(), URL_FUNCTIONS), data))
  } catch (error) {
    if (!isCoded(error)) throw error
    return { ok: false, problem: messageOf(error) }
  }
}

/** The address with the token in its query. */
export const withToken = (url: string, token: string): string => {
  const separator = !url.includes('?') ? '?' : /[?&]$/.test(url) ? '' : '&'
  return `${url}${separator}token=${encodeURIComponent(token)}`
}
