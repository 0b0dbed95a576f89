import { test } from 'tap'
import { Type } from 'typebox'
import { ANY_KEY, AnyKey } from '../../src/api/meta.ts'
import { toStructural } from '../../src/core/structural-schema.ts'

const described = { description: 'd' }

const conversions: Record<string, { schema: object; becomes: object }> = {
  'a string keeps its bounds, format and pattern': {
    schema: Type.String({ ...described, minLength: 1, maxLength: 9, format: 'date-time', pattern: '^a' }),
    becomes: { ...described, type: 'string', minLength: 1, maxLength: 9, format: 'date-time', pattern: '^a' },
  },
  'an enum is a string with its values': {
    schema: Type.Enum(['True', 'False'], { type: 'string', ...described }),
    becomes: { ...described, type: 'string', enum: ['True', 'False'] },
  },
  'an integer is one of 64 bits': {
    schema: Type.Integer({ ...described, minimum: 0 }),
    becomes: { ...described, type: 'integer', format: 'int64', minimum: 0 },
  },
  'a number and a boolean stay as they are': {
    schema: Type.Object({ n: Type.Number({ ...described, maximum: 2 }), b: Type.Boolean(described) }),
    becomes: {
      type: 'object',
      required: ['n', 'b'],
      properties: { n: { ...described, type: 'number', maximum: 2 }, b: { ...described, type: 'boolean' } },
    },
  },
  'an optional field is not required': {
    schema: Type.Object({ a: Type.Optional(Type.String(described)) }, described),
    becomes: { ...described, type: 'object', properties: { a: { ...described, type: 'string' } } },
  },
  'an object without fields has none': {
    schema: Type.Object({}, described),
    becomes: { ...described, type: 'object', properties: {} },
  },
  'an array keeps its bounds and list type, and its items need no words of their own': {
    schema: Type.Array(Type.String({ maxLength: 3 }), { ...described, minItems: 1, maxItems: 4, 'x-kubernetes-list-type': 'set' }),
    becomes: {
      ...described,
      type: 'array',
      minItems: 1,
      maxItems: 4,
      'x-kubernetes-list-type': 'set',
      items: { type: 'string', maxLength: 3 },
    },
  },
  'a record takes any key': {
    schema: Type.Record(AnyKey, Type.String({ maxLength: 5 }), { ...described, maxProperties: 2 }),
    becomes: { ...described, type: 'object', maxProperties: 2, additionalProperties: { type: 'string', maxLength: 5 } },
  },
  'unknown is any value': {
    schema: Type.Unknown(described),
    becomes: { ...described, 'x-kubernetes-preserve-unknown-fields': true },
  },
  'extensions of Kubernetes are carried over': {
    schema: Type.Object({}, { ...described, 'x-kubernetes-preserve-unknown-fields': true, 'x-kubernetes-map-type': 'atomic' }),
    becomes: { ...described, type: 'object', 'x-kubernetes-preserve-unknown-fields': true, 'x-kubernetes-map-type': 'atomic', properties: {} },
  },
}

for (const [sentence, { schema, becomes }] of Object.entries(conversions)) {
  await test(sentence, async (t) => {
    t.strictSame(toStructural(schema, 'spec'), becomes)
  })
}

const refusals: Record<string, { schema: object; says: string }> = {
  'a field without description': {
    schema: Type.Object({ a: Type.Object({ b: Type.String() }, described) }),
    says: 'spec.a.b: has no description',
  },
  'a field with an empty description': {
    schema: Type.Object({ a: Type.Boolean({ description: '' }) }),
    says: 'spec.a: has no description',
  },
  'a field without description inside an array': {
    schema: Type.Object({ a: Type.Array(Type.Object({ b: Type.String() }), described) }),
    says: 'spec.a[].b: has no description',
  },
  'a union': {
    schema: Type.Object({ a: Type.Union([Type.String(), Type.Integer()], described) }),
    says: 'spec.a: no structural form is known for anyOf on any value',
  },
  'a literal': {
    schema: Type.Literal('a', described),
    says: 'spec: no structural form is known for const on "string"',
  },
  'an enum without a type': {
    schema: Type.Enum(['a'], described),
    says: 'spec: no structural form is known for enum on any value',
  },
  'null': {
    schema: Type.Null(described),
    says: 'spec: no structural form is known for "null"',
  },
  'a tuple of types': {
    schema: { type: ['string', 'null'] },
    says: 'spec: no structural form is known for ["string","null"]',
  },
  'a closed object': {
    schema: Type.Object({}, { additionalProperties: false }),
    says: 'spec: no structural form is known for additionalProperties on "object"',
  },
  'a default, which a CRD would write into stored objects': {
    schema: Type.String({ ...described, default: 'a' }),
    says: 'spec: no structural form is known for default on "string"',
  },
  'a record with chosen keys': {
    schema: { type: 'object', patternProperties: { '^a': { type: 'string' } } },
    says: 'spec: only records that take any key have a structural form',
  },
  'a record whose pattern passes over keys with a line end': {
    schema: Type.Record(Type.String(), Type.String()),
    says: 'spec: only records that take any key have a structural form',
  },
  'fields beside free keys': {
    schema: { type: 'object', properties: {}, patternProperties: { [ANY_KEY]: { type: 'string' } } },
    says: 'spec: fields and free keys exclude each other in a structural schema',
  },
  'a bad value in a record': {
    schema: Type.Record(AnyKey, Type.Null()),
    says: 'spec.*: no structural form is known for "null"',
  },
  'an array without items': {
    schema: { type: 'array' },
    says: 'spec[]: not a schema',
  },
}

for (const [sentence, { schema, says }] of Object.entries(refusals)) {
  await test(`refused: ${sentence}`, async (t) => {
    t.throws(() => toStructural(schema, 'spec'), { message: says })
  })
}
