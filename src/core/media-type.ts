/** Accept and Content-Type headers. */

/** What objects are written in. */
export type Form = 'json' | 'yaml'

interface AcceptEntry {
  /** Such as `application/json`, in lower case. */
  type: string
  params: ReadonlyMap<string, string>
}

const TYPE = /^[\w!#$&^.+*-]+\/[\w!#$&^.+*-]+$/

const trimmed = (text: string): string => text.trim().toLowerCase()

const unquoted = (text: string): string => (text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text)

const readEntry = (text: string): { entry: AcceptEntry; quality: number } | undefined => {
  const [type = '', ...rest] = text.split(';')
  const entry = { type: trimmed(type), params: new Map<string, string>() }
  if (!TYPE.test(entry.type)) return undefined
  let quality = 1
  for (const param of rest) {
    const at = param.indexOf('=')
    if (at < 0) continue
    const name = trimmed(param.slice(0, at))
    const value = unquoted(param.slice(at + 1).trim())
    if (name === 'q') quality = Number(value)
    else entry.params.set(name, value)
  }
  return { entry, quality: Number.isFinite(quality) ? Math.min(Math.max(quality, 0), 1) : 0 }
}

const stars = ({ type }: AcceptEntry): number => (type === '*/*' ? 2 : type.endsWith('/*') ? 1 : 0)

/** The entries that are wanted at all, the most wanted first; what is no media type is left out. */
const parseAccept = (header: string): AcceptEntry[] =>
  header
    .split(',')
    .flatMap((text) => readEntry(text) ?? [])
    .filter(({ quality }) => quality > 0)
    .toSorted((a, b) => b.quality - a.quality || stars(a.entry) - stars(b.entry))
    .map(({ entry }) => entry)

const FORMS: ReadonlyMap<string, Form> = new Map([
  ['*/*', 'json'],
  ['application/*', 'json'],
  ['application/json', 'json'],
  ['application/yaml', 'yaml'],
])

/** @returns undefined for an entry that wants something else, such as protobuf, or an object turned into a Table */
const formOf = ({ type, params }: AcceptEntry): Form | undefined => (params.has('as') ? undefined : FORMS.get(type))

const first = <T>(entries: readonly AcceptEntry[], choose: (entry: AcceptEntry) => T | undefined): T | undefined => {
  for (const entry of entries) {
    const chosen = choose(entry)
    if (chosen !== undefined) return chosen
  }
  return undefined
}

/** @returns undefined when nothing that we have is wanted; JSON when nothing is said */
export const acceptedForm = (header: string | undefined): Form | undefined =>
  header === undefined || header === '' || header === 'application/json' ? 'json' : first(parseAccept(header), formOf)

/** The versions of the list of groups that holds their resources too. */
export type DiscoveryForm = Form | 'v2' | 'v2beta1'

const discoveryFormOf = (entry: AcceptEntry): DiscoveryForm | undefined => {
  const { type, params } = entry
  if (!params.has('as')) return formOf(entry)
  if (type !== 'application/json' || params.get('g') !== 'apidiscovery.k8s.io' || params.get('as') !== 'APIGroupDiscoveryList') return undefined
  const version = params.get('v')
  return version === 'v2' || version === 'v2beta1' ? version : undefined
}

/** As acceptedForm, for the list of groups. */
export const acceptedDiscovery = (header: string | undefined): DiscoveryForm | undefined =>
  header === undefined || header === '' ? 'json' : first(parseAccept(header), discoveryFormOf)

/** What a body is written in; JSON when nothing is said, undefined for anything else. */
export const contentForm = (header: string | undefined): Form | undefined => {
  if (header === undefined || header === 'application/json') return 'json'
  const type = trimmed(header.split(';', 1)[0] ?? '')
  if (type === '') return 'json'
  return type.includes('*') ? undefined : FORMS.get(type)
}
