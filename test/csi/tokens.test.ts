import { test } from 'tap'
import type { Connector } from '../../src/api/connector.ts'
import type { Mount } from '../../src/core/mount-call.ts'
import { createTokens, type TokenReading } from '../../src/csi/tokens.ts'
import { CodedError } from '../../src/errors.ts'
import type { TokenQuestion } from '../../src/kube/ports.ts'
import { csiWorld } from '../support/csi-world.ts'
import { GIT, HARBOR, MOUNT_POD, MOUNT_TIME, mountOf } from '../support/mount-facts.ts'

const MINUTE = 60_000

const connectorOf = (name: string, audience?: string): Connector => ({
  metadata: { namespace: 'shared', name },
  status: { proxy: { httpAddress: { url: 'http://proxy', ...(audience === undefined ? {} : { audience }) } } },
})

const mountWith = (tokens: Record<string, string>, tokenExpirationMs?: number): Mount => {
  const mount = mountOf([HARBOR])
  const given = Object.entries(tokens).map(([audience, token]) => [audience, { token, expirationTimestamp: '2030-01-01T00:00:00Z' }] as const)
  return { ...mount, attributes: { ...mount.attributes, tokenExpirationMs }, tokens: new Map(given) }
}

/** Tokens with an API server that makes them, or without. @param partMs what it gives of a lifetime, at most */
const tokensWith = (isAllowed: boolean, partMs = Infinity) => {
  const clock = { ms: MOUNT_TIME, now: () => clock.ms }
  const asked: TokenQuestion[] = []
  const issueToken = async (question: TokenQuestion) => {
    asked.push(question)
    return { token: `made-${asked.length}`, expirationTimestamp: new Date(clock.ms + Math.min(partMs, question.seconds * 1000)).toISOString() }
  }
  return { clock, asked, tokens: createTokens({ issuer: isAllowed ? { issueToken } : undefined, clock }) }
}

const told = (reading: TokenReading): string => (reading.ok ? reading.token : `${reading.failure.code}: ${reading.failure.message}`)

const OFFERED = { 'connectors-proxy': 'given', 'my-proxy': 'mine' }
const ADVICE = 'an administrator adds it to spec.tokenRequests of CSIDriver connectors-csi, or runs the CSI plugin with --token-api'

const cases: Record<string, { api: boolean; mount: Mount; connectors: Connector[]; token: string; seconds?: number }> = {
  "kubelet's own": { api: false, mount: mountWith(OFFERED), connectors: [connectorOf('harbor')], token: 'given' },
  'for the audience that the Connector names': { api: false, mount: mountWith(OFFERED), connectors: [connectorOf('harbor', 'my-proxy')], token: 'mine' },
  'an audience that says nothing is the default': { api: false, mount: mountWith(OFFERED), connectors: [connectorOf('harbor', '')], token: 'given' },
  'two Connectors of one audience': { api: false, mount: mountWith(OFFERED), connectors: [connectorOf('harbor', 'my-proxy'), connectorOf('git', 'my-proxy')], token: 'mine' },
  'two Connectors of two audiences': {
    api: true,
    mount: mountWith(OFFERED),
    connectors: [connectorOf('harbor'), connectorOf('git', 'my-proxy')],
    token:
      'FAILED_PRECONDITION: Connector shared/harbor takes tokens for audience "connectors-proxy", Connector shared/git for "my-proxy"; one volume holds one token, so mount them in two volumes',
  },
  'an audience that kubelet does not offer': {
    api: false,
    mount: mountWith(OFFERED),
    connectors: [connectorOf('harbor', 'other')],
    token: `FAILED_PRECONDITION: Connector shared/harbor takes tokens for audience "other", which kubelet did not hand in; ${ADVICE}`,
  },
  'a kubelet that hands in none': {
    api: false,
    mount: mountWith({}),
    connectors: [connectorOf('harbor')],
    token: `FAILED_PRECONDITION: Connector shared/harbor takes tokens for audience "connectors-proxy", which kubelet did not hand in; ${ADVICE}`,
  },
  'a lifetime of its own, not allowed': { api: false, mount: mountWith(OFFERED, 60 * MINUTE), connectors: [connectorOf('harbor')], token: 'given' },
  'a lifetime of its own, allowed': { api: true, mount: mountWith(OFFERED, 60 * MINUTE), connectors: [connectorOf('harbor')], token: 'made-1', seconds: 3600 },
  'the default lifetime, written down': { api: true, mount: mountWith(OFFERED, 30 * MINUTE), connectors: [connectorOf('harbor')], token: 'given' },
  'an audience that kubelet does not offer, allowed': { api: true, mount: mountWith(OFFERED), connectors: [connectorOf('harbor', 'other')], token: 'made-1', seconds: 1800 },
}

for (const [what, { api, mount, connectors, token, seconds }] of Object.entries(cases)) {
  await test(`the token: ${what}`, async (t) => {
    const { tokens, asked } = tokensWith(api)
    t.equal(told(await tokens.tokenFor(mount, connectors)), token)
    t.strictSame(asked.map((question) => question.seconds), seconds === undefined ? [] : [seconds])
  })
}

await test('a token is made for this Pod alone, and kept until four fifths of its time are over', async (t) => {
  const { tokens, asked, clock } = tokensWith(true)
  const mount = mountWith({}, 60 * MINUTE)
  const next = async (): Promise<string> => told(await tokens.tokenFor(mount, [connectorOf('harbor')]))
  t.equal(await next(), 'made-1')
  t.strictSame(asked, [{ serviceAccount: { namespace: 'cicd', name: 'builder' }, pod: MOUNT_POD, audience: 'connectors-proxy', seconds: 3600 }])
  clock.ms += 47 * MINUTE
  t.equal(await next(), 'made-1')
  clock.ms += 2 * MINUTE
  t.equal(await next(), 'made-2')
  tokens.forget(mount.volumeId)
  t.equal(await next(), 'made-3', 'of a volume that is gone nothing is kept')
  t.equal(told(await tokens.tokenFor(mount, [connectorOf('harbor', 'other')])), 'made-4', 'another audience is another token')
})

await test('a token that is given for less time than was asked for is made anew in its own time', async (t) => {
  const { tokens, clock } = tokensWith(true, 20 * MINUTE)
  const mount = mountWith({}, 60 * MINUTE)
  t.equal(told(await tokens.tokenFor(mount, [connectorOf('harbor')])), 'made-1')
  clock.ms += 17 * MINUTE
  t.equal(told(await tokens.tokenFor(mount, [connectorOf('harbor')])), 'made-2')
})

const refusing = (code: 'KUBE_FORBIDDEN' | 'KUBE_UNAVAILABLE') =>
  createTokens({ issuer: { issueToken: () => Promise.reject(new CodedError(code, 'an hour at most')) }, clock: { now: () => MOUNT_TIME } })

await test('a token that may not be made is said; an API server that is away is another thing', async (t) => {
  const mount = mountWith({}, 120 * MINUTE)
  t.equal(
    told(await refusing('KUBE_FORBIDDEN').tokenFor(mount, [connectorOf('harbor')])),
    'FAILED_PRECONDITION: a token of 120m for audience "connectors-proxy" may not be made: an hour at most',
  )
  await t.rejects(refusing('KUBE_UNAVAILABLE').tokenFor(mount, [connectorOf('harbor')]), { code: 'KUBE_UNAVAILABLE' })
})

await test('a lifetime that has no effect is said once, in an Event', async (t) => {
  const world = await csiWorld(t)
  const volume = { attributes: { connectors: 'shared/harbor', 'token.expiration': '1h' } }
  world.may(HARBOR, { proxy: true })
  world.pod(MOUNT_POD, volume)
  for (const _ of [1, 2]) {
    const mount = world.publish(MOUNT_POD, volume)
    await world.time.advance(0)
    t.equal(mount.outcome, 'OK')
  }
  t.strictSame(world.events(), [
    'AccessMounted volume "tools": may use shared/harbor; the files are there',
    'TokenExpirationIgnored volume "tools": token.expiration 60m has no effect: tokens last 30m here, unless an administrator runs the CSI plugin with --token-api',
  ])
  t.equal(world.content('context.token'), 'token-one')
})

await test('with --token-api the volume gets what it asks for, and nothing is said', async (t) => {
  const world = await csiWorld(t, { tokenApi: true })
  const volume = { attributes: { connectors: 'shared/harbor', 'token.expiration': '1h' } }
  world.may(HARBOR, { proxy: true })
  world.pod(MOUNT_POD, volume)
  const mount = world.publish(MOUNT_POD, volume)
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
  t.equal(world.content('context.token'), 'made-1')
  t.strictSame(world.events(), ['AccessMounted volume "tools": may use shared/harbor; the files are there'])
})

await test('two Connectors in one volume with two audiences are refused at the mount', async (t) => {
  const world = await csiWorld(t)
  const volume = { attributes: { connectors: 'shared/harbor,git' } }
  world.flags('true', 'true', { 'enable-multi-connector': 'true' })
  world.connector(GIT, 'my-proxy')
  world.may(HARBOR, { proxy: true })
  world.may(GIT, { proxy: true })
  world.pod(MOUNT_POD, volume)
  const mount = world.publish(MOUNT_POD, volume)
  await world.time.advance(0)
  t.match(mount.outcome, /^FAILED_PRECONDITION: Connector shared\/harbor takes tokens for audience "connectors-proxy", Connector cicd\/git for "my-proxy"/)
  t.equal(world.files(), undefined)
})
