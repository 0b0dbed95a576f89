/** Decoding of an object as the API server does it: fields of the right types, nothing for null, and a list of the fields that nobody knows. */
import { ANY_KEY } from '../api/meta.ts'
import { isRecord } from './json-shape.ts'

/** A field of the wrong type; the message is the one of the API server's decoder, and holds no value. */
export class WrongType extends Error {}

type Field =
  | { kind: 'string' | 'bool' | 'int64' | 'float64' | 'any' }
  | { kind: 'list'; items: Field }
  | { kind: 'map'; values: Field }
  | { kind: 'object'; name: string; fields: ReadonlyMap<string, { field: Field; required: boolean }> }

/** @returns the object with the fields that are known. @throws WrongType */
export type Decoder = (value: unknown, unknown: string[]) => Record<string, unknown>

const SCALARS: ReadonlyMap<unknown, 'string' | 'bool' | 'int64' | 'float64' | 'any'> = new Map([
  ['string', 'string'],
  ['boolean', 'bool'],
  ['integer', 'int64'],
  ['number', 'float64'],
  [undefined, 'any'],
])

/** So many unknown fields are told. */
const MOST_UNKNOWN = 50

const upperFirst = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`

const compile = (schema: unknown, name: string): Field => {
  if (!isRecord(schema)) throw new Error(`${name}: not a schema`)
  const scalar = SCALARS.get(schema.type)
  if (scalar !== undefined) return { kind: scalar }
  if (schema.type === 'array') return { kind: 'list', items: compile(schema.items, name) }
  if (schema.type !== 'object') throw new Error(`${name}: no decoder is known for ${String(schema.type)}`)
  if (isRecord(schema.patternProperties)) return { kind: 'map', values: compile(schema.patternProperties[ANY_KEY], name) }
  const required: unknown[] = Array.isArray(schema.required) ? schema.required : []
  const properties = isRecord(schema.properties) ? schema.properties : {}
  const fields = Object.entries(properties).map(
    ([key, value]) => [key, { field: compile(value, name + upperFirst(key)), required: required.includes(key) }] as const,
  )
  return { kind: 'object', name, fields: new Map(fields) }
}

const typeName = (field: Field): string => {
  switch (field.kind) {
    case 'list':
      return `[]${typeName(field.items)}`
    case 'map':
      return `map[string]${typeName(field.values)}`
    case 'object':
      return field.name
    case 'string':
    case 'bool':
    case 'int64':
    case 'float64':
    case 'any':
      return field.kind
    default:
      return field satisfies never
  }
}

const valueName = (value: unknown): string => {
  if (Array.isArray(value)) return 'array'
  return typeof value === 'boolean' ? 'bool' : typeof value === 'object' ? 'object' : typeof value
}

/** What a field is that must be there, and is not. */
const zero = (field: Field): unknown => {
  switch (field.kind) {
    case 'string':
      return ''
    case 'bool':
      return false
    case 'int64':
    case 'float64':
      return 0
    case 'list':
      return []
    case 'map':
      return {}
    case 'object':
      return Object.fromEntries([...field.fields].filter(([, { required }]) => required).map(([key, inner]) => [key, zero(inner.field)]))
    case 'any':
      return null
    default:
      return field satisfies never
  }
}

interface Place {
  /** The innermost object type. */
  struct: string
  path: string
  unknown: string[]
}

const decodeField = (field: Field, value: unknown, place: Place): unknown => {
  if (value === null || value === undefined) return zero(field)
  const wrong = (): never => {
    const where = place.path === '' ? `Go value of type ${typeName(field)}` : `Go struct field ${place.struct}.${place.path} of type ${typeName(field)}`
    throw new WrongType(`json: cannot unmarshal ${valueName(value)} into ${where}`)
  }
  switch (field.kind) {
    case 'any':
      return value
    case 'string':
      // Half a pair of UTF-16 is no text: it would be another one in each program that reads it.
      return typeof value === 'string' ? value.toWellFormed() : wrong()
    case 'bool':
      return typeof value === 'boolean' ? value : wrong()
    case 'int64':
      return Number.isSafeInteger(value) ? value : wrong()
    case 'float64':
      return typeof value === 'number' ? value : wrong()
    case 'list':
      return Array.isArray(value) ? value.map((item: unknown) => decodeField(field.items, item, place)) : wrong()
    case 'map':
      if (!isRecord(value)) return wrong()
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key.toWellFormed(), decodeField(field.values, item, place)]))
    case 'object':
      return isRecord(value) ? decodeFields(field, value, place) : wrong()
    default:
      return field satisfies never
  }
}

const decodeFields = ({ name, fields }: Extract<Field, { kind: 'object' }>, value: Record<string, unknown>, { path, unknown }: Place): Record<string, unknown> => {
  const within = path === '' ? '' : `${path}.`
  const decoded: Record<string, unknown> = {}
  for (const [key, { field, required }] of fields) {
    const sent = Object.hasOwn(value, key) ? value[key] : undefined
    if (sent !== undefined && sent !== null) decoded[key] = decodeField(field, sent, { struct: name, path: within + key, unknown })
    else if (required) decoded[key] = zero(field)
  }
  for (const key of Object.keys(value)) {
    if (fields.has(key)) continue
    if (unknown.length >= MOST_UNKNOWN) break
    unknown.push(within + key)
  }
  return decoded
}

/**
 * @param schema of TypeBox: objects, lists, records, text, numbers, booleans, anything
 * @param name of the type, as messages name it
 * @throws Error for a schema that has more in it
 */
export const compileDecoder = (schema: object, name: string): Decoder => {
  const root = compile(schema, name)
  if (root.kind !== 'object') throw new Error(`${name}: only an object can be decoded`)
  return (value, unknown) => {
    const place = { struct: name, path: '', unknown }
    if (!isRecord(value)) throw new WrongType(`json: cannot unmarshal ${valueName(value)} into Go value of type ${name}`)
    return decodeFields(root, value, place)
  }
}
