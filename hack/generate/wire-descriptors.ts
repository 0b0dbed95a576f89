import protobuf from 'protobufjs'

const isName = (key: string): boolean => /^[a-z_$][\w$]*$/i.test(key)

const quoted = (text: string): string => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`

/** A JSON value as TypeScript source in the style of this project. */
const literal = (value: unknown, indent: string): string => {
  if (typeof value === 'string') return quoted(value)
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, indent)).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  if (entries.length === 0) return '{}'
  const inner = `${indent}  `
  const isFlat = entries.every(([, item]) => typeof item !== 'object' || item === null)
  const fields = entries.map(([key, item]) => `${isName(key) ? key : quoted(key)}: ${literal(item, inner)}`)
  return isFlat ? `{ ${fields.join(', ')} }` : `{\n${fields.map((field) => `${inner}${field},\n`).join('')}${indent}}`
}

/**
 * The TypeScript module that tells protobufjs what the proto files say, so that none is read or parsed at run time. Pure.
 * @param sources contents of proto3 files that import nothing
 * @throws Error when one cannot be parsed or names a type that is not there
 */
export const wireDescriptors = (sources: readonly string[]): string => {
  const root = new protobuf.Root()
  for (const source of sources) {
    const { imports, weakImports } = protobuf.parse(source, root)
    if (imports !== undefined || weakImports !== undefined) throw new Error('a proto file of the wire imports nothing')
  }
  root.resolveAll()
  return [
    '// Generated from the proto files beside it by "npm run generate"; do not edit.',
    '',
    '/** The proto files as protobufjs reads them. */',
    `export const DESCRIPTORS = ${literal(root.toJSON(), '')}`,
    '',
  ].join('\n')
}
