import fc from 'fast-check'
import { test } from 'tap'
import type { Pod, Volume } from '../../src/api/pod.ts'
import { gatedVolumes, namesConnector } from '../../src/core/gated-volume.ts'

const ours = (volumeAttributes: Record<string, string>, name = 'tools'): Volume => ({ name, csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes } })
const podWith = (...volumes: Volume[]): Pod => ({ metadata: { name: 'build-1' }, spec: { volumes } })
const git = { namespace: 'cicd', name: 'git' }
const harbor = { namespace: 'shared', name: 'harbor' }

const KNOWN = 'connectors, connector.name, connector.namespace, configuration.names, configuration.params, token.expiration'
const PARAMS = 'configuration.params must be JSON of the form {"configuration": {"param": "value"}}'
const expiration = (text: string): string => `token.expiration must be a duration from 10m to 24h, for example 30m; got "${text}"`

const GOOD: Record<string, { volumes: Volume[]; connectors: object[] }> = {
  'no volume of ours': { volumes: [{ name: 'a' }, { name: 'b', csi: { driver: 'other', volumeAttributes: { connectors: 'x' } } }], connectors: [] },
  'a bare name is in the namespace of the Pod': { volumes: [ours({ connectors: 'git' })], connectors: [git] },
  'a namespace and a name': { volumes: [ours({ connectors: 'shared/harbor' })], connectors: [harbor] },
  'a list with spaces, in its order and without duplicates': { volumes: [ours({ connectors: ' shared/harbor , git,cicd/git ' })], connectors: [harbor, git] },
  'several volumes': { volumes: [ours({ connectors: 'git' }), { name: 'x' }, ours({ connectors: 'shared/harbor,git' }, 'more')], connectors: [git, harbor] },
  'the older form': { volumes: [ours({ 'connector.name': 'git' })], connectors: [git] },
  'the older form with a namespace': { volumes: [ours({ 'connector.name': 'harbor', 'connector.namespace': 'shared' })], connectors: [harbor] },
  'every other attribute': {
    volumes: [ours({ connectors: 'git', 'configuration.names': 'gitconfig, !ca.cert', 'configuration.params': '{"gitconfig":{"user":"x"}}', 'token.expiration': '1h30m' })],
    connectors: [git],
  },
}

for (const [name, { volumes, connectors }] of Object.entries(GOOD)) {
  await test(name, async (t) => {
    t.strictSame(gatedVolumes(podWith(...volumes), 'cicd'), { connectors, problems: [] })
  })
}

const BAD: Record<string, { volume: Volume; problems: string[] }> = {
  'neither form': { volume: ours({}), problems: ['connectors or connector.name is required'] },
  'no attributes at all': { volume: { name: 'tools', csi: { driver: 'connectors-csi', readOnly: true } }, problems: ['connectors or connector.name is required'] },
  'a namespace without a name': { volume: ours({ 'connector.namespace': 'shared' }), problems: ['connectors or connector.name is required'] },
  'an empty list': { volume: ours({ connectors: ' ' }), problems: ['connectors or connector.name is required'] },
  'both forms': {
    volume: ours({ connectors: 'git', 'connector.name': 'git' }),
    problems: ['connectors and the older connector.name and connector.namespace must not be used together; keep connectors'],
  },
  'not read-only': { volume: { name: 'tools', csi: { driver: 'connectors-csi', volumeAttributes: { connectors: 'git' } } }, problems: ['readOnly: true is required'] },
  'an empty item': { volume: ours({ connectors: 'git,,shared/harbor' }), problems: ['connectors has an empty item; write namespace/name or name, separated by commas'] },
  'names that cannot be': {
    volume: ours({ connectors: 'Git,a/b/c,/git,a.b/git' }),
    problems: ['Git', 'a/b/c', '/git', 'a.b/git'].map((item) => `connectors must name Connectors as namespace/name or name; "${item}" is neither`),
  },
  'an older name that cannot be': {
    volume: ours({ 'connector.name': 'Git' }),
    problems: ['connector.name must be lower case letters, digits, "-" and ".", beginning and ending with a letter or digit; got "Git"'],
  },
  'an older namespace that cannot be': {
    volume: ours({ 'connector.name': 'git', 'connector.namespace': 'a.b' }),
    problems: ['connector.namespace must be lower case letters, digits and "-", beginning and ending with a letter or digit; got "a.b"'],
  },
  'a list that is too long': { volume: ours({ connectors: Array.from({ length: 101 }, () => 'git').join(',') }), problems: ['connectors must have at most 100 items; got 101'] },
  'configuration names with an empty item': {
    volume: ours({ connectors: 'git', 'configuration.names': 'a,!' }),
    problems: ['configuration.names has an empty item; write names, or "!" and a file to leave out, separated by commas'],
  },
  'params that are no JSON': { volume: ours({ connectors: 'git', 'configuration.params': '{a' }), problems: [`${PARAMS}; it is not JSON`] },
  'params of another shape': { volume: ours({ connectors: 'git', 'configuration.params': '{"gitconfig":{"port":1}}' }), problems: [PARAMS] },
  'a token that is too short': { volume: ours({ connectors: 'git', 'token.expiration': '9m59s' }), problems: [expiration('9m59s')] },
  'a token that is too long': { volume: ours({ connectors: 'git', 'token.expiration': '24h1ms' }), problems: [expiration('24h1ms')] },
  'a token without a unit': { volume: ours({ connectors: 'git', 'token.expiration': '1800' }), problems: [expiration('1800')] },
  'an attribute of kubelet': {
    volume: ours({ connectors: 'git', 'csi.storage.k8s.io/pod.name': 'other' }),
    problems: ['the attribute "csi.storage.k8s.io/pod.name" is for kubelet to set; remove it'],
  },
  'an unknown attribute': { volume: ours({ connectors: 'git', connector: 'git' }), problems: [`there is no attribute "connector"; there are ${KNOWN}`] },
  'several problems at once': {
    volume: { name: 'tools', csi: { driver: 'connectors-csi', readOnly: false, volumeAttributes: { conectors: 'git', 'token.expiration': '1s' } } },
    problems: ['readOnly: true is required', 'connectors or connector.name is required', expiration('1s'), `there is no attribute "conectors"; there are ${KNOWN}`],
  },
}

for (const [name, { volume, problems }] of Object.entries(BAD)) {
  await test(`a volume that the mount refuses: ${name}`, async (t) => {
    t.strictSame(gatedVolumes(podWith(volume, ours({ connectors: 'shared/harbor' }, 'good')), 'cicd'), {
      connectors: [harbor],
      problems: problems.map((problem) => `volume "tools": ${problem}`),
    })
  })
}

const listOf = (from: number, length: number): string => Array.from({ length }, (_, index) => `c${from + index}`).join(',')

await test('more than 32 Connectors are a problem, and the surplus is ignored', async (t) => {
  const { connectors, problems } = gatedVolumes(podWith(ours({ connectors: listOf(0, 30) }), ours({ connectors: listOf(28, 8) }, 'more')), 'cicd')
  t.strictSame(connectors.map(({ name }) => name), listOf(0, 32).split(','))
  t.strictSame(problems, ['volume "more": a Pod may name at most 32 Connectors; 4 more are ignored'])
})

await test('of many problems the first twenty are told', async (t) => {
  const attributes = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`x${index}`, 'y']))
  t.equal(gatedVolumes(podWith(ours(attributes)), 'cicd').problems.length, 20)
})

await test('a Pod names a Connector only in a well-formed volume', async (t) => {
  const pod = podWith(ours({ connectors: 'git,shared/harbor' }), ours({ connectors: 'shared/nexus', typo: '' }, 'bad'))
  t.equal(namesConnector(pod, 'cicd', git), true)
  t.equal(namesConnector(pod, 'cicd', harbor), true)
  t.equal(namesConnector(pod, 'other', git), false)
  t.equal(namesConnector(pod, 'cicd', { namespace: 'shared', name: 'git' }), false)
  t.equal(namesConnector(pod, 'cicd', { namespace: 'shared', name: 'nexus' }), false)
  t.equal(namesConnector({ metadata: { name: 'empty' } }, 'cicd', git), false)
})

await test('reading never throws, and Connectors are unique, at most 32 and of volumes without a problem', async (t) => {
  const key = fc.constantFrom('connectors', 'connector.name', 'connector.namespace', 'configuration.params', 'token.expiration', '__proto__', 'other')
  const value = fc.oneof(fc.string({ unit: 'binary' }), fc.array(fc.constantFrom('a', 'b/c', ' ', '', 'a.-b', ',')).map((items) => items.join(',')), fc.jsonValue())
  const volume = fc.oneof(
    fc.jsonValue(),
    fc.record({
      name: fc.oneof(fc.string(), fc.jsonValue()),
      csi: fc.record({ driver: fc.constant('connectors-csi'), readOnly: fc.oneof(fc.constant(true), fc.jsonValue()), volumeAttributes: fc.oneof(fc.dictionary(key, value), fc.jsonValue()) }),
    }),
  )
  const spec = fc.oneof(fc.jsonValue(), fc.record({ volumes: fc.oneof(fc.jsonValue(), fc.array(volume)) }))
  fc.assert(
    fc.property(spec, (given) => {
      const pod = { metadata: { name: 'p' }, spec: given } as unknown as Pod
      const { connectors, problems } = gatedVolumes(pod, 'cicd')
      const names = connectors.map(({ namespace, name }) => `${namespace}/${name}`)
      return new Set(names).size === names.length && names.length <= 32 && problems.length <= 20 && problems.every((text) => text.startsWith('volume '))
    }),
  )
  t.pass('held')
})
