/** JSON values that are nearly right: fast-check changes a good one in places of its choice. */
import fc from 'fast-check'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export const json = JSON.parse as (text: string) => Json

/** Every place in a value, as a path. */
const placesOf = (value: Json, path: (string | number)[] = []): (string | number)[][] => [
  path,
  ...(Array.isArray(value)
    ? value.flatMap((item, index) => placesOf(item, [...path, index]))
    : typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, item]) => placesOf(item, [...path, key]))
      : []),
]

const REMOVED = Symbol('removed')
const replaced = (value: Json, [key, ...rest]: (string | number)[], next: Json | typeof REMOVED): Json => {
  if (key === undefined) return next === REMOVED ? null : next
  if (Array.isArray(value))
    return value.flatMap((item, index) => (index !== key ? [item] : rest.length === 0 && next === REMOVED ? [] : [replaced(item, rest, next)]))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, item]) =>
      name !== key ? [[name, item]] : rest.length === 0 && next === REMOVED ? [] : [[name, replaced(item, rest, next)]],
    ),
  )
}

const odd: fc.Arbitrary<Json | typeof REMOVED> = fc.oneof(
  fc.constant(REMOVED),
  fc.constantFrom<Json>(
    null,
    true,
    false,
    0,
    -1,
    1e308,
    '',
    ' ',
    '*',
    '../..',
    'a/b/c',
    'Ä\u0000\uD800',
    '{.object',
    '__proto__',
    'constructor',
    [],
    {},
    [[]],
    [null],
    { '': '' },
  ),
  fc.jsonValue({ maxDepth: 3 }).map((value) => json(JSON.stringify(value))),
  fc.string({ maxLength: 300 }),
  fc.constant(json('{"__proto__":{"allowed":true,"spec":{}},"constructor":{"prototype":{"x":1}},"hasOwnProperty":1,"toString":null}')),
)

/** The value with up to four of its places changed. @param telling values of the field, which a change may be as well */
export const mutated = (value: object, telling: readonly Json[] = []): fc.Arbitrary<Json> =>
  fc.array(fc.tuple(fc.nat(), telling.length === 0 ? odd : fc.oneof(odd, fc.constantFrom(...telling))), { minLength: 1, maxLength: 4 }).map((changes) => {
    let result = json(JSON.stringify(value))
    for (const [place, next] of changes) {
      const places = placesOf(result)
      result = replaced(result, places[place % places.length] ?? [], next)
    }
    return result
  })
