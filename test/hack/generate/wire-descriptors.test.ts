import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { pathToFileURL } from 'node:url'
import { test } from 'tap'
import { wireDescriptors } from '../../../hack/generate/wire-descriptors.ts'

const PROTO = `
syntax = "proto3";
package a.b;
service S { rpc Do(Request) returns (Answer); }
message Request { string some_name = 1; map<string, string> it_s = 2; repeated int32 numbers = 5; }
message Answer { oneof what { Request one = 1; Kind kind = 2; } }
enum Kind { UNKNOWN = 0; "it" = 1; }
`

await test('proto files become a module that says the same', async (t) => {
  const source = wireDescriptors([PROTO.replace('"it"', 'IT'), 'syntax = "proto3"; package c; message M {}'])
  t.match(source, /^\/\/ Generated from the proto files beside it by "npm run generate"; do not edit\.\n/)
  t.match(source, /\n$/)
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-test-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'descriptors.mjs'), source)
  const { DESCRIPTORS }: { DESCRIPTORS: unknown } = await import(pathToFileURL(join(folder, 'descriptors.mjs')).href)
  t.strictSame(DESCRIPTORS, {
    nested: {
      a: {
        nested: {
          b: {
            nested: {
              S: { methods: { Do: { requestType: 'Request', responseType: 'Answer' } } },
              Request: {
                fields: {
                  someName: { type: 'string', id: 1 },
                  itS: { keyType: 'string', type: 'string', id: 2 },
                  numbers: { rule: 'repeated', type: 'int32', id: 5 },
                },
              },
              Answer: { oneofs: { what: { oneof: ['one', 'kind'] } }, fields: { one: { type: 'Request', id: 1 }, kind: { type: 'Kind', id: 2 } } },
              Kind: { values: { UNKNOWN: 0, IT: 1 } },
            },
          },
        },
      },
      c: { nested: { M: { fields: {} } } },
    },
  })
})

const refused: Record<string, { source: string; message: RegExp }> = {
  'a file that is none': { source: PROTO, message: /illegal/ },
  'a type that is not there': { source: 'syntax = "proto3"; message M { Nowhere n = 1; }', message: /no such.*Nowhere/ },
  'an import, which nobody would find': { source: 'syntax = "proto3"; import "google/protobuf/wrappers.proto";', message: /imports nothing/ },
}

for (const [sentence, { source, message }] of Object.entries(refused))
  await test(`${sentence} is an error`, (t) => {
    t.throws(() => wireDescriptors([source]), { message })
    t.end()
  })
