import { randomBytes } from 'node:crypto'
import { test, type Test } from 'tap'
import type { Secret } from '../../src/api/secret.ts'
import { createKeyRing, type KeyRing } from '../../src/jwt/key-ring.ts'
import { runRotateKeys, type Rotation } from '../../src/jwt/rotate-keys.ts'
import { createTokens, type Tokens } from '../../src/jwt/tokens.ts'
import { createClient, type KubeClient } from '../../src/kube/client.ts'
import { ROLES, ROLE_BINDINGS, SECRETS } from '../../src/kube/resources.ts'
import { systemClock, systemTimers } from '../../src/kube/timers.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { untilTrue } from '../support/eventually.ts'
import { logLines } from '../support/log-lines.ts'
import { SESSION } from '../support/token-bench.ts'

const cluster = testControlPlane()
const NAME = 'keys'

const client = async (t: Test, kubeconfig: string): Promise<KubeClient> => {
  const kube = await createClient({ kubeconfig, userAgent: 'access-gate-test', requestTimeoutMs: 10_000 })
  t.teardown(() => kube.close())
  return kube
}

interface Place {
  namespace: string
  admin: KubeClient
  /** May get, list, watch and update the one Secret, by its name, and nothing else. */
  role: () => Promise<KubeClient>
  secret: () => Promise<Secret | undefined>
}

const place = async (t: Test): Promise<Place> => {
  const namespace = await cluster.namespace('signing-keys')
  const admin = await client(t, cluster.adminKubeconfig)
  await admin.create(SECRETS, { metadata: { name: NAME, namespace }, type: 'Opaque' })
  await admin.create(SECRETS, { metadata: { name: 'other', namespace }, type: 'Opaque' })
  await admin.create(ROLES, { metadata: { name: 'keys', namespace }, rules: [{ apiGroups: [''], resources: ['secrets'], resourceNames: [NAME], verbs: ['get', 'list', 'watch', 'update'] }] })
  await admin.create(ROLE_BINDINGS, {
    metadata: { name: 'keys', namespace },
    subjects: [{ kind: 'ServiceAccount', name: 'default', namespace }],
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'keys' },
  })
  const kubeconfig = await cluster.kubeconfigFor({ name: namespace, token: await cluster.serviceAccountToken(namespace, 'default', { seconds: 600 }) })
  const role = (): Promise<KubeClient> => client(t, kubeconfig)
  const probe = await role()
  await untilTrue('the Role is in effect', () =>
    probe.get(SECRETS, namespace, NAME).then(
      () => true,
      () => false,
    ),
  )
  return { namespace, admin, role, secret: () => admin.get(SECRETS, namespace, NAME) }
}

const ringOf = (kube: KubeClient, namespace: string, newKeyUseDelayMs = 300): KeyRing =>
  createKeyRing({ kube, clock: systemClock, timers: systemTimers, random: Math.random, randomBytes, logger: logLines().log }, { secret: { namespace, name: NAME }, newKeyUseDelayMs })
const run = (t: Test, ring: KeyRing): void => {
  const end = new AbortController()
  const running = ring.run(end.signal)
  t.teardown(async () => {
    end.abort()
    await running
  })
}
const tokensOf = (ring: KeyRing): Tokens => createTokens({ ring, clock: systemClock, issuer: 'i', audience: 'a', newId: () => 'id' })
const kids = (secret: Secret | undefined): string[] => Object.keys(secret?.data ?? {}).map((name) => name.replace('jwt-signing-key-', ''))

await test('replicas that start together on an empty Secret have one key, with the rights of the shipped Role alone', async (t) => {
  const { namespace, role, secret } = await place(t)
  const clients = await Promise.all(Array.from({ length: 6 }, role))
  const rings = clients.map((kube) => ringOf(kube, namespace))
  await Promise.all(rings.map((ring) => ring.ensureFirstKey()))
  const [kid] = kids(await secret())
  t.equal(kids(await secret()).length, 1)
  t.same(rings.map((ring) => ring.signingKey()?.kid), rings.map(() => kid))
  const [a, ...others] = rings.map(tokensOf)
  const token = (await a?.sign(SESSION, { ttlMs: 60_000 })) ?? ''
  for (const other of others) t.match(await other.verify(token), { ok: true, token: { user: 'alice' } })
})

await test('a rotation reaches two replicas by their watches; what is removed stops at once', async (t) => {
  const { namespace, role, admin, secret } = await place(t)
  const rings = [ringOf(await role(), namespace), ringOf(await role(), namespace)]
  for (const ring of rings) run(t, ring)
  await untilTrue('both have a key', () => rings.every((ring) => ring.signingKey() !== undefined && ring.source.reflector.hasSynced))
  const [first = ''] = kids(await secret())
  const [a, b] = rings.map(tokensOf)
  if (a === undefined || b === undefined) throw new Error('two are made above')
  const token = await a.sign(SESSION, { ttlMs: 60_000 })

  const rotate = async (dryRun = false): Promise<Rotation> => {
    const kube = await role()
    const env = { clock: systemClock, logger: logLines().log, randomBytes }
    return runRotateKeys({ namespace, secretName: NAME, keep: 2, dryRun }, { reader: kube, writer: kube }, env)
  }
  await untilTrue('the second of the first key is over', () => systemClock.now() / 1000 >= Number(first) + 1)
  await rotate(true)
  t.same(kids(await secret()), [first], 'a dry run writes nothing')
  const { added: [second = ''] } = await rotate()
  await untilTrue('both sign with the new key', () => rings.every((ring) => ring.signingKey()?.kid === second))
  t.match(await b.verify(token), { ok: true }, 'the old key is still good')

  await untilTrue('the second of the second key is over', () => systemClock.now() / 1000 >= Number(second) + 1)
  const { added: [third = ''], removed } = await rotate()
  t.same([removed, kids(await secret()).toSorted()], [[first], [second, third].toSorted()])
  await untilTrue('both dropped the first key', () => rings.every((ring) => ring.keyFor(first) === undefined))
  t.same([await a.verify(token), await b.verify(token)], [{ ok: false, why: 'kid' }, { ok: false, why: 'kid' }])
  t.same(rings.map((ring) => ring.unready()), [undefined, undefined])

  await admin.remove(SECRETS, namespace, NAME)
  await untilTrue('no key is left', () => rings.every((ring) => ring.signingKey() === undefined))
  await untilTrue('readyz says what to do', () => rings.every((ring) => ring.unready()?.includes(`kubectl create secret generic ${NAME} --namespace ${namespace}`)))
  await admin.create(SECRETS, { metadata: { name: NAME, namespace }, type: 'Opaque' })
  await untilTrue('both have one key again', () => rings.every((ring) => ring.signingKey() !== undefined))
  t.equal(kids(await secret()).length, 1)
  t.equal(rings[0]?.signingKey()?.kid, rings[1]?.signingKey()?.kid)
})

await test('rotations at the same moment add one key', async (t) => {
  const { namespace, role, secret } = await place(t)
  // The same moment to each of them, however long the machine takes.
  const moment = systemClock.now()
  const env = { clock: { now: () => moment }, logger: logLines().log, randomBytes }
  const results = await Promise.all(
    (await Promise.all([role(), role(), role()])).map((kube) => runRotateKeys({ namespace, secretName: NAME, keep: 3, dryRun: false }, { reader: kube, writer: kube }, env).catch((error: unknown) => error)),
  )
  t.ok(results.some((result) => !(result instanceof Error)), 'one of them did it')
  t.equal(kids(await secret()).length, 1)
})

await test('another Secret cannot be had, and the sentence says which right is missing', async (t) => {
  const { namespace, role } = await place(t)
  const ring = createKeyRing({ kube: await role(), clock: systemClock, timers: systemTimers, random: Math.random, randomBytes, logger: logLines().log }, { secret: { namespace, name: 'other' }, newKeyUseDelayMs: 0 })
  await t.rejects(ring.ensureFirstKey(), { code: 'KUBE_FORBIDDEN', message: new RegExp(`^Secret ${namespace}/other, which holds the signing keys, needs the verb get in a Role and its RoleBinding`) })
})
