import fc from 'fast-check'
import { Type } from 'typebox'
import { test } from 'tap'
import { AnyKey } from '../../src/api/meta.ts'
import { parseApiPath, verbOf } from '../../src/core/api-path.ts'
import { duplicateKeys } from '../../src/core/duplicate-keys.ts'
import { compileDecoder } from '../../src/core/field-decoder.ts'
import { acceptedDiscovery, acceptedForm, contentForm } from '../../src/core/media-type.ts'

/** JSON as its text is written: an object is a list of keys, some maybe twice. */
type Written = { keys: [string, Written][] } | { items: Written[] } | { scalar: string | number | null }

const { written } = fc.letrec<{ written: Written }>((tie) => ({
  written: fc.oneof(
    { maxDepth: 4 },
    fc.record({ scalar: fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.constant(null), fc.constantFrom('{"a":1}', '\\', '"', '],')) }),
    fc.record({ items: fc.array(tie('written'), { maxLength: 4 }) }),
    fc.record({ keys: fc.array(fc.tuple(fc.oneof(fc.constantFrom('a', 'b', '"', '\\', '__proto__'), fc.string()), tie('written')), { maxLength: 4 }) }),
  ),
}))

const textOf = (value: Written): string => {
  if ('scalar' in value) return JSON.stringify(value.scalar)
  if ('items' in value) return `[ ${value.items.map(textOf).join(' , ')} ]`
  return `{ ${value.keys.map(([key, item]) => `${JSON.stringify(key)} : ${textOf(item)}`).join(',')} }`
}

const expected = (value: Written, path: string): string[] => {
  if ('scalar' in value) return []
  if ('items' in value) return value.items.flatMap((item, index) => expected(item, `${path}[${index}]`))
  return value.keys.flatMap(([key, item], index) => {
    const at = path === '' ? key : `${path}.${key}`
    return [...(value.keys.slice(0, index).some(([other]) => other === key) ? [at] : []), ...expected(item, at)]
  })
}

await test('keys that are there twice are found, and no others', (t) => {
  fc.assert(
    fc.property(written, (value) => {
      // A list at the top has no name before its index: paths begin with a key or an index.
      const found = duplicateKeys(textOf({ keys: [['top', value]] }), 1_000)
      t.strictSame(found.toSorted(), [...new Set(expected(value, 'top'))].toSorted())
    }),
    { numRuns: 300 },
  )
  t.strictSame(duplicateKeys('{"a":1,"a":2,"b":1,"b":2}', 1), ['a'])
  t.end()
})

await test('paths', (t) => {
  const resource = { kind: 'resource', group: 'g.io', version: 'v1', namespace: 'ns', resource: 'r', name: '', subresource: '', isCollection: false }
  const PATHS: Record<string, object> = {
    '/apis/g.io/v1/namespaces/ns/r': { ...resource, isCollection: true },
    '/apis/g.io/v1/namespaces/ns/r/n': { ...resource, name: 'n' },
    '/apis/g.io/v1/namespaces/ns/r/n/s/t': { ...resource, name: 'n', subresource: 's/t' },
    '/apis/g.io/v1/r': { ...resource, namespace: '' },
    '/apis/g.io/v1/r/n': { ...resource, namespace: '', name: 'n' },
    '/apis/g.io/v1/namespaces': { ...resource, namespace: '', resource: 'namespaces' },
    '/apis/g.io/v1/namespaces/ns': { ...resource, resource: 'namespaces', name: 'ns' },
    '/apis/g.io/v1/': { kind: 'path', path: '/apis/g.io/v1' },
    '/': { kind: 'path', path: '/' },
    '/apis/g.io/v1/namespaces/ns/r/': { kind: 'nowhere' },
    '/apis//v1': { kind: 'nowhere' },
    '/apis/../healthz': { kind: 'nowhere' },
    '/apis/%2e%2e': { kind: 'nowhere' },
    'https://host/apis': { kind: 'nowhere' },
    '*': { kind: 'nowhere' },
    '': { kind: 'nowhere' },
  }
  for (const [path, parsed] of Object.entries(PATHS)) t.strictSame(parseApiPath(path), parsed, path)
  t.match(parseApiPath('/apis/g.io/v1/namespaces/-/r'), { kind: 'bad-namespace' })
  const named = { ...resource, kind: 'resource' as const, name: 'n' }
  t.strictSame(
    ['POST', 'GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'constructor'].map((method) => [verbOf(method, named), verbOf(method, { ...named, name: '' })]),
    [['create', 'create'], ['get', 'list'], ['get', 'list'], ['update', 'update'], ['patch', 'patch'], ['delete', 'deletecollection'], ['options', 'options'], ['constructor', 'constructor']],
  )
  t.end()
})

await test('media types', (t) => {
  const ACCEPTED: Record<string, string | undefined> = {
    '': 'json',
    'application/yaml': 'yaml',
    'Application/JSON; charset=utf-8': 'json',
    'application/json;q=0.1, application/yaml;q=0.9': 'yaml',
    '*/*, application/yaml': 'yaml',
    'text/html, */*;q=0.1': 'json',
    'application/json;q=0': undefined,
    'application/json;q=x': undefined,
    'text/html': undefined,
    ',': undefined,
  }
  for (const [header, form] of Object.entries(ACCEPTED)) t.equal(acceptedForm(header), form, header)
  t.equal(acceptedDiscovery('application/json;g="apidiscovery.k8s.io";v=v2;as=APIGroupDiscoveryList'), 'v2')
  t.strictSame([undefined, '', ' ;x', 'application/json;charset=utf-8', 'application/yaml', 'application/*', 'text/yaml'].map(contentForm), ['json', 'json', 'json', 'json', 'yaml', undefined, undefined])
  t.end()
})

const decoder = compileDecoder(
  Type.Object({ text: Type.String(), list: Type.Optional(Type.Array(Type.String())), map: Type.Optional(Type.Record(AnyKey, Type.Integer())), inner: Type.Object({ flag: Type.Boolean() }) }),
  'Thing',
)
const thing = fc.record(
  {
    text: fc.oneof(fc.string(), fc.constant(null)),
    list: fc.oneof(fc.array(fc.string()), fc.constant(null)),
    map: fc.oneof(fc.dictionary(fc.string(), fc.integer()), fc.constant(null)),
    inner: fc.oneof(fc.record({ flag: fc.boolean() }), fc.constant(null)),
  },
  { requiredKeys: [] },
)

await test('what has the right types is decoded to itself; what is not there to what is empty', (t) => {
  fc.assert(
    fc.property(thing, fc.dictionary(fc.string().filter((key) => !['text', 'list', 'map', 'inner'].includes(key)), fc.jsonValue(), { maxKeys: 3 }), (value, others) => {
      const unknown: string[] = []
      const sent = JSON.parse(JSON.stringify({ ...others, ...value })) as typeof value
      const decoded = decoder(sent, unknown)
      t.strictSame(JSON.parse(JSON.stringify(decoded)), JSON.parse(JSON.stringify({
        text: sent.text ?? '',
        ...(sent.list === undefined || sent.list === null ? {} : { list: sent.list }),
        ...(sent.map === undefined || sent.map === null ? {} : { map: sent.map }),
        inner: sent.inner ?? { flag: false },
      })))
      t.strictSame(unknown.toSorted(), Object.keys(others).filter((key) => Object.hasOwn(sent, key)).toSorted())
    }),
    { numRuns: 200 },
  )
  t.end()
})

await test('a key with a line end hides nothing of what it holds', (t) => {
  for (const key of ['a\nb', '\n', 'a\r', '\u2028'])
    t.throws(() => decoder({ map: { [key]: 'text' } }, []), { message: 'json: cannot unmarshal string into Go struct field Thing.map of type int64' }, encodeURIComponent(key))
  t.end()
})

await test('any value either has the right types or is refused', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (list, text) => {
      try {
        const decoded = decoder({ list, text }, [])
        t.equal(typeof decoded['text'], 'string')
        t.ok(decoded['list'] === undefined || (Array.isArray(decoded['list']) && decoded['list'].every((item) => typeof item === 'string')))
      } catch (error) {
        t.match(error, { message: /^json: cannot unmarshal (number|string|bool|array|object) into Go struct field Thing\.(list|text) of type (\[\])?string$/ })
      }
    }),
    { numRuns: 300 },
  )
  t.end()
})
