import fc from 'fast-check'
import { test } from 'tap'
import type { Pod, Volume } from '../../src/api/pod.ts'
import { podProblem, readMountCall, type Mount, type MountCall } from '../../src/core/mount-call.ts'
import type { GateFailure } from '../../src/core/mount-gate.ts'

const DIR = '/var/lib/kubelet'
const UID = '2f6a1c3e-0b1d-4c59-9a7e-5d1f0a9b8c7d'
const PREFIX = 'csi.storage.k8s.io/'
const TARGET = `${DIR}/pods/${UID}/volumes/kubernetes.io~csi/tools/mount`
const TOKENS = `${PREFIX}serviceAccount.tokens`
const SECRET = 'eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2lnbmVk'
const token = { token: SECRET, expirationTimestamp: '2026-01-01T12:30:00Z' }

const CONTEXT = {
  connectors: 'git,shared/harbor',
  [`${PREFIX}pod.name`]: 'build-1',
  [`${PREFIX}pod.namespace`]: 'cicd',
  [`${PREFIX}pod.uid`]: UID,
  [`${PREFIX}serviceAccount.name`]: 'builder',
  [`${PREFIX}ephemeral`]: 'true',
}
const without = (key: string): Record<string, string> => Object.fromEntries(Object.entries(CONTEXT).filter(([name]) => name !== key))

interface CallOptions extends Partial<Omit<MountCall, 'context' | 'secrets' | 'publishContext'>> {
  context?: Record<string, string>
  secrets?: Record<string, string>
  publishContext?: Record<string, string>
}

const callOf = ({ context = CONTEXT, secrets = {}, publishContext = {}, ...more }: CallOptions = {}): MountCall => ({
  volumeId: 'csi-0a1b',
  targetPath: TARGET,
  readOnly: true,
  context: new Map(Object.entries(context)),
  secrets: new Map(Object.entries(secrets)),
  publishContext: new Map(Object.entries(publishContext)),
  isMountVolume: true,
  volumeMountGroup: '',
  ...more,
})

const MOUNT: Mount = {
  volumeId: 'csi-0a1b',
  target: TARGET,
  volumeName: 'tools',
  pod: { namespace: 'cicd', name: 'build-1', uid: UID },
  serviceAccount: 'builder',
  attributes: {
    connectors: [
      { namespace: 'cicd', name: 'git' },
      { namespace: 'shared', name: 'harbor' },
    ],
    configurationNames: { include: undefined, exclude: [] },
    configurationParams: new Map(),
    tokenExpirationMs: undefined,
  },
  group: undefined,
  tokens: new Map(),
}

const GOOD: Record<string, { call: CallOptions; dir?: string; mount: Partial<Mount> }> = {
  'as kubelet sends it': { call: {}, mount: {} },
  'the ServiceAccount that nobody named is the default one': { call: { context: { ...CONTEXT, [`${PREFIX}serviceAccount.name`]: '' } }, mount: { serviceAccount: 'default' } },
  'tokens in the context': { call: { context: { ...CONTEXT, [TOKENS]: JSON.stringify({ '': token, 'connectors-proxy': token }) } }, mount: { tokens: new Map([['', token], ['connectors-proxy', token]]) } },
  'tokens as a secret': { call: { secrets: { [TOKENS]: JSON.stringify({ a: token }) } }, mount: { tokens: new Map([['a', token]]) } },
  'tokens in both places: the secret counts': {
    call: { context: { ...CONTEXT, [TOKENS]: '{"old":{}}' }, secrets: { [TOKENS]: JSON.stringify({ a: { ...token, more: 1 } }), other: 'x' } },
    mount: { tokens: new Map([['a', token]]) },
  },
  'a volume_id and a uid that just fit': {
    call: { volumeId: 'v'.repeat(128), context: { ...CONTEXT, [`${PREFIX}pod.uid`]: 'a'.repeat(63) }, targetPath: TARGET.replace(UID, 'a'.repeat(63)) },
    mount: { volumeId: 'v'.repeat(128), pod: { ...MOUNT.pod, uid: 'a'.repeat(63) }, target: TARGET.replace(UID, 'a'.repeat(63)) },
  },
  'a group': { call: { volumeMountGroup: '2000' }, mount: { group: 2000 } },
  'the group of root': { call: { volumeMountGroup: '0' }, mount: { group: 0 } },
  'the highest group': { call: { volumeMountGroup: '2147483647' }, mount: { group: 2_147_483_647 } },
  'an attribute of a kubelet to come': { call: { context: { ...CONTEXT, [`${PREFIX}pod.mood`]: 'fine' } }, mount: {} },
  'another folder of kubelet, written with a slash at the end': {
    call: { targetPath: `/opt/k/pods/${UID}/volumes/kubernetes.io~csi/tools/mount` },
    dir: '/opt/k/',
    mount: { target: `/opt/k/pods/${UID}/volumes/kubernetes.io~csi/tools/mount` },
  },
  'a static Pod, whose uid is a hash': {
    call: { context: { ...CONTEXT, [`${PREFIX}pod.uid`]: '0123456789abcdef0123456789abcdef' }, targetPath: `${DIR}/pods/0123456789abcdef0123456789abcdef/volumes/kubernetes.io~csi/tools/mount` },
    mount: {
      pod: { ...MOUNT.pod, uid: '0123456789abcdef0123456789abcdef' },
      target: `${DIR}/pods/0123456789abcdef0123456789abcdef/volumes/kubernetes.io~csi/tools/mount`,
    },
  },
}

for (const [name, { call, dir = DIR, mount }] of Object.entries(GOOD)) {
  await test(`a call: ${name}`, async (t) => {
    t.strictSame(readMountCall(callOf(call), dir), { ok: true, mount: { ...MOUNT, ...mount } })
  })
}

const kubelets = (key: string, problem: string): string => `the attribute ${PREFIX}${key}, which kubelet sets, ${problem}`
const SUBDOMAIN = 'must be lower case letters, digits, "-" and ".", beginning and ending with a letter or digit'
const LABEL = 'must be lower case letters, digits and "-", beginning and ending with a letter or digit'
const TARGET_RULE = `target_path must be ${DIR}/pods/${UID}/volumes/kubernetes.io~csi/<name of the volume>/mount; got`
const TOKEN_RULE = `${TOKENS}, which kubelet sets, must be JSON of the form {"audience": {"token": "...", "expirationTimestamp": "..."}}`
const GROUP_RULE = 'volume_mount_group must be a group number from 0 to 2147483647; got'
const ID_RULE = 'volume_id must be at most 128 letters, digits, "-", "_" and "."; got'
const EPHEMERAL = kubelets('ephemeral', 'must be "true": Connectors are mounted as inline volumes of Pods alone')
const inKubelets = (key: string, value: string): CallOptions => ({ context: { ...CONTEXT, [PREFIX + key]: value } })
const target = (targetPath: string): { call: CallOptions; message: string } => ({ call: { targetPath }, message: `${TARGET_RULE} ${JSON.stringify(targetPath)}` })

const BAD: Record<string, { call: CallOptions; message: string }> = {
  'no volume_id': { call: { volumeId: '' }, message: 'volume_id is required' },
  'a volume_id that is a path': { call: { volumeId: '../x' }, message: `${ID_RULE} "../x"` },
  'a volume_id with a line break': { call: { volumeId: 'a\nb' }, message: `${ID_RULE} "a\\nb"` },
  'a volume_id that is too long': { call: { volumeId: 'v'.repeat(129) }, message: `${ID_RULE} "${'v'.repeat(80)}…"` },
  'no target_path': { call: { targetPath: '' }, message: 'target_path is required' },
  'a target elsewhere': target('/etc/kubernetes/manifests'),
  'a target of another Pod': target(TARGET.replace(UID, '00000000-0000-0000-0000-000000000000')),
  'a target of another driver': target(TARGET.replace('~csi', '~empty-dir')),
  'a target that climbs out': target(TARGET.replace('/tools/', '/../../../x/')),
  'a target whose volume is a climb': target(TARGET.replace('/tools/', '/../')),
  'a target with a volume of two parts': target(TARGET.replace('/tools/', '/a/b/')),
  'a target without a volume': target(TARGET.replace('/tools/', '//')),
  'a target whose parts overlap': target(TARGET.replace('/tools/mount', '/mount')),
  'a target with something behind it': target(`${TARGET}/x`),
  'a target with a slash behind it': target(`${TARGET}/`),
  'a target with a null character': target(TARGET.replace('tools', 'to\0ols')),
  'a target that is not absolute': target(TARGET.slice(1)),
  'no capability, or a block volume': { call: { isMountVolume: false }, message: 'volume_capability must be there and ask for a mounted volume: Connectors are no block devices' },
  'not read-only': { call: { readOnly: false }, message: 'readOnly: true is required' },
  'something to attach': { call: { publishContext: { devicePath: '/dev/sda' } }, message: 'publish_context must be empty: there is nothing to attach' },
  'no name of the Pod': { call: { context: without(`${PREFIX}pod.name`) }, message: kubelets('pod.name', 'must not be empty') },
  'a name that no Pod has': { call: inKubelets('pod.name', '../x'), message: kubelets('pod.name', `${SUBDOMAIN}; got "../x"`) },
  'no namespace of the Pod': { call: { context: without(`${PREFIX}pod.namespace`) }, message: kubelets('pod.namespace', 'must not be empty') },
  'a namespace that cannot be': { call: inKubelets('pod.namespace', 'a.b'), message: kubelets('pod.namespace', `${LABEL}; got "a.b"`) },
  'no uid of the Pod': { call: { context: without(`${PREFIX}pod.uid`) }, message: kubelets('pod.uid', 'must be the uid of a Pod; got ""') },
  'a uid that climbs': {
    call: { ...inKubelets('pod.uid', '..'), targetPath: `${DIR}/pods/../volumes/kubernetes.io~csi/tools/mount` },
    message: kubelets('pod.uid', 'must be the uid of a Pod; got ".."'),
  },
  'a uid that is a path': { call: inKubelets('pod.uid', `${UID}/volumes`), message: kubelets('pod.uid', `must be the uid of a Pod; got "${UID}/volumes"`) },
  'a uid that is too long': { call: inKubelets('pod.uid', 'a'.repeat(64)), message: kubelets('pod.uid', `must be the uid of a Pod; got "${'a'.repeat(64)}"`) },
  'no ServiceAccount': { call: { context: without(`${PREFIX}serviceAccount.name`) }, message: kubelets('serviceAccount.name', 'is required') },
  'a ServiceAccount that cannot be': { call: inKubelets('serviceAccount.name', 'a:b'), message: kubelets('serviceAccount.name', `${SUBDOMAIN}; got "a:b"`) },
  'not said to be inline': { call: { context: without(`${PREFIX}ephemeral`) }, message: EPHEMERAL },
  'a persistent volume': { call: inKubelets('ephemeral', 'false'), message: EPHEMERAL },
  'no Connector': { call: { context: without('connectors') }, message: 'connectors or connector.name is required' },
  'an unknown attribute': {
    call: { context: { ...CONTEXT, 'storage.kubernetes.io/x': 'y' } },
    message: 'there is no attribute "storage.kubernetes.io/x"; there are connectors, connector.name, connector.namespace, configuration.names, configuration.params, token.expiration',
  },
  'a group that is a name': { call: { volumeMountGroup: 'wheel' }, message: `${GROUP_RULE} "wheel"` },
  'a group that is negative': { call: { volumeMountGroup: '-1' }, message: `${GROUP_RULE} "-1"` },
  'a group with a fraction': { call: { volumeMountGroup: '1.5' }, message: `${GROUP_RULE} "1.5"` },
  'a group in another notation': { call: { volumeMountGroup: '0x10' }, message: `${GROUP_RULE} "0x10"` },
  'a group beyond all groups': { call: { volumeMountGroup: '2147483648' }, message: `${GROUP_RULE} "2147483648"` },
  'tokens that are no JSON': { call: inKubelets('serviceAccount.tokens', `${SECRET}{`), message: `${TOKEN_RULE}; it is not JSON` },
  'tokens that are empty': { call: inKubelets('serviceAccount.tokens', ''), message: `${TOKEN_RULE}; it is not JSON` },
  'tokens in a list': { call: { secrets: { [TOKENS]: JSON.stringify([token]) } }, message: TOKEN_RULE },
  'a token that is text alone': { call: { secrets: { [TOKENS]: JSON.stringify({ a: SECRET }) } }, message: TOKEN_RULE },
  'a token that is empty': { call: { secrets: { [TOKENS]: JSON.stringify({ a: token, b: { ...token, token: '' } }) } }, message: TOKEN_RULE },
  'a token that ends nobody knows when': { call: { secrets: { [TOKENS]: JSON.stringify({ a: { ...token, expirationTimestamp: 'soon' } }) } }, message: TOKEN_RULE },
  'everything at once: what depends on the Pod is not judged': {
    call: { volumeId: '', targetPath: '', readOnly: false, isMountVolume: false, context: {}, volumeMountGroup: 'x' },
    message: [
      'volume_id is required',
      'volume_capability must be there and ask for a mounted volume: Connectors are no block devices',
      'readOnly: true is required',
      kubelets('pod.namespace', 'must not be empty'),
      kubelets('pod.name', 'must not be empty'),
      kubelets('pod.uid', 'must be the uid of a Pod; got ""'),
      kubelets('serviceAccount.name', 'is required'),
      EPHEMERAL,
      'target_path is required',
      `${GROUP_RULE} "x"`,
    ].join('; '),
  },
}

for (const [name, { call, message }] of Object.entries(BAD)) {
  await test(`a call that is refused: ${name}`, async (t) => {
    t.strictSame(readMountCall(callOf(call), DIR), { ok: false, failure: { code: 'INVALID_ARGUMENT', message } })
  })
}

const anyText = fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.constantFrom('..', '/', UID, 'tools', 'true', 'a', `${SECRET}"`, TARGET, `{"a":{"token":"${SECRET}"}}`, `{"a":${JSON.stringify(token)}}`))
const anyKey = fc.oneof(fc.constantFrom(...Object.keys(CONTEXT), TOKENS, '__proto__', 'configuration.params'), fc.string({ maxLength: 10 }))
const keptOr = <T>(kept: T, other: fc.Arbitrary<T>): fc.Arbitrary<T> => fc.oneof({ arbitrary: fc.constant(kept), weight: 4 }, { arbitrary: other, weight: 1 })
const anyCall: fc.Arbitrary<MountCall> = fc
  .record({
    volumeId: keptOr('csi-0a1b', anyText),
    targetPath: keptOr(TARGET, fc.array(fc.oneof(anyText, fc.constantFrom(DIR, 'pods', 'volumes', 'kubernetes.io~csi', 'mount'))).map((parts) => parts.join('/'))),
    readOnly: keptOr(true, fc.boolean()),
    context: fc.dictionary(anyKey, anyText, { maxKeys: 2 }).map((more) => ({ ...CONTEXT, ...more })),
    secrets: keptOr({}, fc.dictionary(fc.constantFrom(TOKENS, 'x'), anyText)),
    publishContext: keptOr({}, fc.dictionary(fc.string(), fc.string())),
    isMountVolume: keptOr(true, fc.boolean()),
    volumeMountGroup: keptOr('', anyText),
  })
  .map((options) => callOf(options))

await test('whatever a call says: nothing is thrown, a mount lies in the folder of its Pod, and no failure quotes a token', async (t) => {
  let mounts = 0
  fc.assert(
    fc.property(anyCall, (call) => {
      const reading = readMountCall(call, DIR)
      const inTokens = [call.context.get(TOKENS), call.secrets.get(TOKENS)].some((text) => text?.includes(SECRET) === true)
      const elsewhere = [call.volumeId, call.targetPath, call.volumeMountGroup, ...[...call.context].filter(([key]) => key !== TOKENS).flat()].some((text) => text.includes(SECRET))
      if (!reading.ok) return reading.failure.code === 'INVALID_ARGUMENT' && reading.failure.message !== '' && reading.failure.message.length <= 1024 && (elsewhere || !inTokens || !reading.failure.message.includes(SECRET))
      mounts += 1
      const { mount } = reading
      return mount.target === `${DIR}/pods/${mount.pod.uid}/volumes/kubernetes.io~csi/${mount.volumeName}/mount` && /^[-a-z0-9]+$/.test(mount.volumeName) && /^[-A-Za-z0-9]+$/.test(mount.pod.uid) && mount.attributes.connectors.length > 0
    }),
    { numRuns: 3000 },
  )
  t.ok(mounts > 300, `${mounts} calls were mounts`)
})

const volumeOf = (more: Partial<NonNullable<Volume['csi']>> = {}, name = 'tools'): Volume => ({
  name,
  csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors: 'git,shared/harbor' }, ...more },
})

interface PodOptions {
  metadata?: Partial<Pod['metadata']>
  spec?: Partial<NonNullable<Pod['spec']>>
  phase?: string
}

const podOf = ({ metadata = {}, spec = {}, phase = 'Pending' }: PodOptions = {}): Pod => ({
  metadata: { name: 'build-1', namespace: 'cicd', uid: UID, ...metadata },
  spec: { serviceAccountName: 'builder', nodeName: 'node-1', volumes: [{ name: 'x' }, volumeOf()], ...spec },
  status: { phase },
})

const failed = (message: string): GateFailure => ({ code: 'FAILED_PRECONDITION', message: `Pod cicd/build-1 ${message}` })
const volumes = (...given: Volume[]): PodOptions => ({ spec: { volumes: given } })
const OTHER_ATTRIBUTES = failed('has a volume "tools" with other attributes than the call')

const PODS: Record<string, { pod: PodOptions; problem: GateFailure | undefined }> = {
  'it is all there': { pod: {}, problem: undefined },
  'it is running': { pod: { phase: 'Running' }, problem: undefined },
  'the same Connectors, written in full': { pod: volumes(volumeOf({ volumeAttributes: { connectors: 'cicd/git , shared/harbor' } })), problem: undefined },
  'another uid': { pod: { metadata: { uid: 'other' } }, problem: failed(`has uid "other"; the call is for uid "${UID}"`) },
  'another node': { pod: { spec: { nodeName: 'node-2' } }, problem: failed('runs on node "node-2"; this is node "node-1"') },
  'no node yet': { pod: { spec: { nodeName: '' } }, problem: failed('runs on node ""; this is node "node-1"') },
  'another ServiceAccount': { pod: { spec: { serviceAccountName: 'deployer' } }, problem: failed('runs as ServiceAccount "deployer"; the call is for "builder"') },
  'the default ServiceAccount': { pod: { spec: { serviceAccountName: '' } }, problem: failed('runs as ServiceAccount "default"; the call is for "builder"') },
  'no volume of that name': { pod: volumes(volumeOf({}, 'others')), problem: failed('has no connectors-csi volume "tools"') },
  'no volumes': { pod: { spec: { volumes: [] } }, problem: failed('has no connectors-csi volume "tools"') },
  'a volume of another driver': { pod: volumes(volumeOf({ driver: 'other' })), problem: failed('has no connectors-csi volume "tools"') },
  'a volume that can be written': { pod: volumes(volumeOf({ readOnly: false })), problem: failed('has a volume "tools" that is not readOnly: true') },
  'fewer Connectors': { pod: volumes(volumeOf({ volumeAttributes: { connectors: 'git' } })), problem: OTHER_ATTRIBUTES },
  'the Connectors in another order': { pod: volumes(volumeOf({ volumeAttributes: { connectors: 'shared/harbor,git' } })), problem: OTHER_ATTRIBUTES },
  'another token': { pod: volumes(volumeOf({ volumeAttributes: { connectors: 'git,shared/harbor', 'token.expiration': '1h' } })), problem: OTHER_ATTRIBUTES },
  'other configurations': { pod: volumes(volumeOf({ volumeAttributes: { connectors: 'git,shared/harbor', 'configuration.names': '!.env' } })), problem: OTHER_ATTRIBUTES },
  'other parameters': { pod: volumes(volumeOf({ volumeAttributes: { connectors: 'git,shared/harbor', 'configuration.params': '{"a":{"b":"c"}}' } })), problem: OTHER_ATTRIBUTES },
  'an attribute that only kubelet may set': {
    pod: volumes(volumeOf({ volumeAttributes: { connectors: 'git,shared/harbor', 'csi.storage.k8s.io/pod.mood': 'fine' } })),
    problem: failed('has a volume "tools" that no mount can be for: the attribute "csi.storage.k8s.io/pod.mood" is for kubelet to set; remove it'),
  },
  'it is terminating': { pod: { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }, problem: failed('is terminating; it gets no new mount') },
  'it has succeeded': { pod: { phase: 'Succeeded' }, problem: failed('has finished; it gets no new mount') },
  'it has failed': { pod: { phase: 'Failed' }, problem: failed('has finished; it gets no new mount') },
  'another volume before it names all the Connectors that a Pod may': {
    pod: volumes(volumeOf({ volumeAttributes: { connectors: ['git', ...Array.from({ length: 31 }, (_, index) => `c${index}`)].join(',') } }, 'many'), volumeOf()),
    problem: { code: 'INVALID_ARGUMENT', message: 'Pod cicd/build-1 names more than 32 Connectors, and shared/harbor is one too many; spread them over several Pods' },
  },
}

for (const [name, { pod, problem }] of Object.entries(PODS)) {
  await test(`the live Pod: ${name}`, async (t) => {
    t.strictSame(podProblem(MOUNT, podOf(pod), 'node-1'), problem)
  })
}

await test('the live Pod: there is none', async (t) => {
  t.strictSame(podProblem(MOUNT, undefined, 'node-1'), { code: 'NOT_FOUND', message: 'Pod cicd/build-1 not found' })
})

await test('the live Pod: no ServiceAccount is the default one', async (t) => {
  const { serviceAccountName: _none, ...spec } = podOf().spec ?? {}
  t.equal(podProblem({ ...MOUNT, serviceAccount: 'default' }, { ...podOf(), spec }, 'node-1'), undefined)
})

await test('the live Pod: parameters in another order are the same', async (t) => {
  const read = readMountCall(callOf({ context: { ...CONTEXT, 'configuration.params': '{"a":{"x":"1","y":"2"},"b":{}}' } }), DIR)
  const pod = podOf(volumes(volumeOf({ volumeAttributes: { connectors: 'git,shared/harbor', 'configuration.params': '{"b":{},"a":{"y":"2","x":"1"}}' } })))
  t.equal(read.ok ? podProblem(read.mount, pod, 'node-1') : read.failure, undefined)
})
