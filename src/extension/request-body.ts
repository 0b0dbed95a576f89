/** A body as a value: JSON or YAML. Nothing of a body is ever part of a message: it may hold a token. */
import { isUtf8 } from 'node:buffer'
import { isAlias, isMap, isScalar, parseDocument, visit, type Document, type Node, type Pair } from 'yaml'
import { duplicateKeys, isNestedDeeper } from '../core/duplicate-keys.ts'
import type { Form } from '../core/media-type.ts'

export type BodyReading =
  | {
      ok: true
      value: unknown
      /** Paths of keys that are there twice; found only when called, the last value counts. */
      duplicates: () => string[]
    }
  | {
      ok: false
      problem: string
      /** Bytes that a body of this form may have at most; set when it has more. */
      limit?: number
    }

/** Bytes of a body, as the API server takes them. */
export const BODY_LIMIT = 3 * 1024 * 1024
/** Bytes of YAML. Of what is read and of what is answered: it takes a hundred times as long as JSON for the same, and hostile text some 15 ms for each KiB. */
export const YAML_LIMIT = 32 * 1024
/** So many keys that are there twice are told. */
const MOST_DUPLICATES = 50
/** Nested deeper than anything that is meant: whatever walks the value later must run out of neither stack nor memory. */
const DEEPEST = 200

const keyName = (key: unknown): string => (isScalar(key) ? String(key.value) : '?')

const pathTo = (parents: readonly (Document | Node | Pair)[], key: string): string => {
  const keys = parents.flatMap((parent) => ('key' in parent ? [keyName(parent.key)] : []))
  return [...keys, key].join('.')
}

const yamlDuplicates = (document: Document): string[] => {
  const found = new Set<string>()
  visit(document, {
    Map: (_key, map, parents) => {
      const seen = new Set<string>()
      for (const { key } of map.items) {
        const name = keyName(key)
        if (seen.has(name) && found.size < MOST_DUPLICATES) found.add(pathTo(parents, name))
        seen.add(name)
      }
    },
  })
  return [...found]
}

/** @returns what is not taken, though it is YAML */
const unwanted = (document: Document): string | undefined => {
  let problem: string | undefined
  visit(document, (_key, node, parents) => {
    // A few short lines with aliases make an object that fills the memory.
    if (isAlias(node)) problem = 'aliases are not taken; write the value out'
    else if (parents.length > DEEPEST) problem = 'it is nested too deep'
    return problem === undefined ? undefined : visit.BREAK
  })
  return problem
}

const readYaml = (text: string): BodyReading => {
  if (text.length > YAML_LIMIT) return { ok: false, problem: 'the body is too long for YAML', limit: YAML_LIMIT }
  let document: Document
  try {
    // Keys are compared below; the parser's own way takes a time that grows with the square of their number.
    document = parseDocument(text, { uniqueKeys: false, resolveKnownTags: false, logLevel: 'error', prettyErrors: false })
    if (document.errors.some(({ code }) => code === 'MULTIPLE_DOCS')) return { ok: false, problem: 'there is more than one YAML document; send one' }
    if (document.errors.length > 0) return { ok: false, problem: 'error converting YAML to JSON: it is no YAML, or only a part of it' }
    const problem = unwanted(document)
    if (problem !== undefined) return { ok: false, problem: `error converting YAML to JSON: ${problem}` }
    const value: unknown = document.toJS()
    return { ok: true, value, duplicates: () => (isMap(document.contents) ? yamlDuplicates(document) : []) }
  } catch {
    // The parser's message quotes the body.
    return { ok: false, problem: 'error converting YAML to JSON: it cannot be read' }
  }
}

const readJson = (text: string): BodyReading => {
  // Before it is parsed: each level costs far more memory than the one character that it is.
  if (isNestedDeeper(text, DEEPEST)) return { ok: false, problem: "couldn't get version/kind; json parse error: exceeded max depth" }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { ok: false, problem: "couldn't get version/kind; json parse error: the body is not JSON, or only a part of it" }
  }
  return { ok: true, value, duplicates: () => duplicateKeys(text, MOST_DUPLICATES) }
}

export const readBody = (body: Buffer, form: Form): BodyReading => {
  if (body.length === 0) return { ok: false, problem: "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)" }
  if (!isUtf8(body)) return { ok: false, problem: 'the body is not UTF-8' }
  const text = body.toString('utf8')
  return form === 'json' ? readJson(text) : readYaml(text)
}
