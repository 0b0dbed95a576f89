import { ANY_KEY } from '../api/meta.ts'

/** A schema as plain data: JSON schema as TypeBox writes it, or the structural OpenAPI v3 schema of a CustomResourceDefinition or an API of ours. */
export type Schema = Readonly<Record<string, unknown>>

/** What is carried over as it is, by type; the keywords that hold further schemas are converted. */
const KEYWORDS: ReadonlyMap<unknown, readonly string[]> = new Map([
  ['object', ['properties', 'patternProperties', 'required', 'maxProperties']],
  ['array', ['items', 'minItems', 'maxItems']],
  ['string', ['enum', 'format', 'pattern', 'minLength', 'maxLength']],
  ['integer', ['format', 'minimum', 'maximum']],
  ['number', ['format', 'minimum', 'maximum']],
  ['boolean', []],
  /** No type: any value (TypeBox Unknown). */
  [undefined, []],
])
const COMMON = new Set(['type', 'description'])
const CONVERTED = new Set(['properties', 'patternProperties', 'items'])

const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null && !Array.isArray(value)

const schemaAt = (value: unknown, path: string): Schema => {
  if (!isSchema(value)) throw new Error(`${path}: not a schema`)
  return value
}

const refuseStrangers = (schema: Schema, path: string): void => {
  const known = KEYWORDS.get(schema.type)
  const kind = schema.type === undefined ? 'any value' : JSON.stringify(schema.type)
  if (known === undefined) throw new Error(`${path}: no structural form is known for ${kind}`)
  const stranger = Object.keys(schema).find((key) => !COMMON.has(key) && !known.includes(key) && !key.startsWith('x-kubernetes-'))
  if (stranger !== undefined) throw new Error(`${path}: no structural form is known for ${stranger} on ${kind}`)
}

const convertRecord = (schema: Schema, path: string): Schema => {
  const patterns = schemaAt(schema.patternProperties, path)
  if (Object.keys(patterns).join(' ') !== ANY_KEY) throw new Error(`${path}: only records that take any key have a structural form`)
  if (schema.properties !== undefined) throw new Error(`${path}: fields and free keys exclude each other in a structural schema`)
  return { additionalProperties: toStructural(schemaAt(patterns[ANY_KEY], `${path}.*`), `${path}.*`) }
}

const convertFields = (schema: Schema, path: string): Schema => {
  const fields = Object.entries(schemaAt(schema.properties, path)).map(([name, value]): [string, Schema] => {
    const field = schemaAt(value, `${path}.${name}`)
    if (typeof field.description !== 'string' || field.description === '') throw new Error(`${path}.${name}: has no description`)
    return [name, toStructural(field, `${path}.${name}`)]
  })
  return { properties: Object.fromEntries(fields) }
}

const convertChildren = (schema: Schema, path: string): Schema => {
  switch (schema.type) {
    case undefined:
      return { 'x-kubernetes-preserve-unknown-fields': true }
    case 'object':
      return schema.patternProperties === undefined ? convertFields(schema, path) : convertRecord(schema, path)
    case 'array':
      return { items: toStructural(schemaAt(schema.items, `${path}[]`), `${path}[]`) }
    default:
      return {}
  }
}

/**
 * Turns a TypeBox schema into the structural form that the API server takes. Pure.
 * @param path where the schema sits, for messages
 * @throws Error, beginning with the path, for a construct that has no structural form here and for a field without description
 */
export const toStructural = (schema: object, path: string): Schema => {
  const source = schemaAt(schema, path)
  refuseStrangers(source, path)
  const { description, type, ...rest } = source
  const constraints = Object.entries(rest).filter(([key]) => !CONVERTED.has(key))
  return {
    ...(description === undefined ? {} : { description }),
    ...(type === undefined ? {} : { type }),
    ...(type === 'integer' ? { format: 'int64' } : {}),
    ...Object.fromEntries(constraints),
    ...convertChildren(source, path),
  }
}
