import fc from 'fast-check'
import type { InjectOptions } from 'fastify'
import { test } from 'tap'
import { parse } from 'yaml'
import { mutated } from '../support/mutated-json.ts'
import { COLLECTION, GROUP, post, REVIEW, world } from './harness.ts'

const GUEST = 'bob'
const BASE = { ...REVIEW, metadata: { name: 'a', labels: { l: '1' } }, spec: { guest: GUEST, groups: ['g'], extra: { k: ['v'] } } }
const TEXT = JSON.stringify(BASE)

/** Cut, doubled, or with a byte that is another one. */
const broken = fc.oneof(
  fc.nat(TEXT.length).map((at) => TEXT.slice(0, at)),
  fc.nat(TEXT.length).map((at) => TEXT.slice(0, at) + TEXT),
  fc.tuple(fc.nat(TEXT.length), fc.string({ unit: 'binary' })).map(([at, inserted]) => TEXT.slice(0, at) + inserted + TEXT.slice(at)),
)
const payload = fc.oneof(
  { weight: 6, arbitrary: mutated(BASE).map((value) => JSON.stringify(value)) },
  broken,
  fc.string(),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  fc.nat(500).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
  fc.nat(500).map((depth) => `${'{"spec":'.repeat(depth)}1${'}'.repeat(depth)}`),
  fc.nat(500).map((depth) => '- '.repeat(depth)),
  fc.constant('a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]'),
)
const type = fc.oneof({ weight: 6, arbitrary: fc.constantFrom('application/json', 'application/yaml') }, fc.constantFrom('application/json; charset=latin1', 'text/html', 'application/', ';;', 'a/b/c', ''))
const accept = fc.oneof({ weight: 6, arbitrary: fc.constantFrom('application/json', 'application/yaml', '*/*') }, fc.constantFrom('application/json;q=0', ';q=', ',,,', 'application/json;as=Table'), fc.stringMatching(/^[ -~]{0,40}$/))
const segment = fc.oneof(fc.constantFrom('apis', GROUP, 'v1alpha1', 'namespaces', 'team', 'visitreviews', '', '.', '..', '%2f', '%', '%00', 'Team', '~', ';', '\\'), fc.stringMatching(/^[!-~]{0,12}$/))
const url = fc.oneof(
  { weight: 6, arbitrary: fc.constant(COLLECTION) },
  fc.array(segment, { maxLength: 9 }).map((segments) => `/${segments.join('/')}`),
  fc.tuple(fc.constantFrom('dryRun', 'fieldValidation', 'pretty', '%'), fc.stringMatching(/^[!-~]{0,12}$/)).map(([name, value]) => `${COLLECTION}?${name}=${value}`),
)
const method = fc.oneof({ weight: 8, arbitrary: fc.constant('POST' as const) }, fc.constantFrom('GET' as const, 'PUT' as const, 'DELETE' as const, 'PATCH' as const, 'HEAD' as const, 'OPTIONS' as const))

/** What the URL parser of inject would not pass on; over a socket, the role's test sends such paths. */
const sendable = (path: string): string => path.replaceAll(/[#\\]/g, '%23').replace(/^\/+/, '/')

await test('whatever comes, the answer is a Status or a review, and nobody who may not is let in', async (t) => {
  const { app, lines } = world()
  const codes = new Map<number, number>()
  await fc.assert(
    fc.asyncProperty(payload, type, accept, url, method, async (body, contentType, accepted, path, verb) => {
      const request: InjectOptions = { ...post(body, { headers: { 'content-type': contentType, 'accept': accepted } }), method: verb, url: '/' }
      const reply = await app.inject({ ...request, url: sendable(path) })
      codes.set(reply.statusCode, (codes.get(reply.statusCode) ?? 0) + 1)
      if (verb === 'HEAD' || reply.statusCode === 200) return
      const answer = (String(reply.headers['content-type']).includes('yaml') ? parse(reply.body) : reply.json()) as Record<string, unknown>
      if (reply.statusCode === 201) {
        const { spec, status } = answer as { spec: { guest: string }; status: { allowed: boolean } }
        if (status.allowed && spec.guest !== 'alice') throw new Error(`allowed ${reply.body}`)
        return
      }
      if (answer['kind'] !== 'Status' || answer['code'] !== reply.statusCode || typeof answer['message'] !== 'string') throw new Error(reply.body)
      if (reply.statusCode >= 500) throw new Error(reply.body)
    }),
    { numRuns: 2_000 },
  )
  t.ok((codes.get(201) ?? 0) > 50, JSON.stringify([...codes]))
  t.strictSame(
    lines.lines.filter(({ level }) => level === 'error'),
    [],
  )
})
