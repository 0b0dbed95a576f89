import fc from 'fast-check'
import { test } from 'tap'
import { readVolumeAttributes, type VolumeAttributes } from '../../src/core/volume-attributes.ts'

const git = { namespace: 'cicd', name: 'git' }
const harbor = { namespace: 'shared', name: 'harbor' }
const nexus = { namespace: 'shared', name: 'nexus' }

const attributesOf = (given: Partial<VolumeAttributes>): VolumeAttributes => ({
  connectors: [git],
  configurationNames: { include: undefined, exclude: [] },
  configurationParams: new Map(),
  tokenExpirationMs: undefined,
  ...given,
})

const GOOD: Record<string, { given: Record<string, string>; attributes: Partial<VolumeAttributes> }> = {
  'one Connector of the Pod\'s namespace': { given: { connectors: 'git' }, attributes: {} },
  'the older form': { given: { 'connector.name': 'harbor', 'connector.namespace': 'shared' }, attributes: { connectors: [harbor] } },
  'the older form with an empty namespace': { given: { 'connector.name': 'git', 'connector.namespace': '' }, attributes: {} },
  'several Connectors in their order': { given: { connectors: 'shared/harbor, git ,shared/nexus' }, attributes: { connectors: [harbor, git, nexus] } },
  'one that is named twice counts where it is named last': { given: { connectors: 'git,shared/harbor,cicd/git' }, attributes: { connectors: [harbor, git] } },
  'configurations by name': { given: { connectors: 'git', 'configuration.names': 'gitconfig, settings' }, attributes: { configurationNames: { include: ['gitconfig', 'settings'], exclude: [] } } },
  'files to leave out leave the built-in configurations alone': {
    given: { connectors: 'git', 'configuration.names': '!ca.cert, ! .env' },
    attributes: { configurationNames: { include: undefined, exclude: ['ca.cert', '.env'] } },
  },
  'both': { given: { connectors: 'git', 'configuration.names': '!ca.cert,gitconfig' }, attributes: { configurationNames: { include: ['gitconfig'], exclude: ['ca.cert'] } } },
  'parameters': {
    given: { connectors: 'git', 'configuration.params': '{"gitconfig":{"user":"x","__proto__":"y"},"empty":{},"__proto__":{"a":""}}' },
    attributes: {
      configurationParams: new Map([
        ['gitconfig', new Map([['user', 'x'], ['__proto__', 'y']])],
        ['empty', new Map()],
        ['__proto__', new Map([['a', '']])],
      ]),
    },
  },
  'the shortest token': { given: { connectors: 'git', 'token.expiration': '10m' }, attributes: { tokenExpirationMs: 600_000 } },
  'the longest token': { given: { connectors: 'git', 'token.expiration': '24h' }, attributes: { tokenExpirationMs: 86_400_000 } },
}

for (const [name, { given, attributes }] of Object.entries(GOOD)) {
  await test(name, async (t) => {
    t.strictSame(readVolumeAttributes(given, 'cicd'), { ok: true, attributes: attributesOf(attributes) })
  })
}

const MAP = 'volumeAttributes must be a map of text'
const REQUIRED = 'connectors or connector.name is required'

const BAD: Record<string, { given: unknown; problems: string[] }> = {
  'nothing': { given: undefined, problems: [MAP] },
  'a list': { given: ['git'], problems: [MAP] },
  'no Connector': { given: {}, problems: [REQUIRED] },
  'a Connector that is no text': { given: { connectors: 5 }, problems: [MAP, REQUIRED] },
  'an attribute that is no text': { given: { connectors: 'git', 'token.expiration': 1800 }, problems: [MAP] },
  'a name beside the list, also an empty one': {
    given: { connectors: 'git', 'connector.namespace': '' },
    problems: ['connectors and the older connector.name and connector.namespace must not be used together; keep connectors'],
  },
  'a configuration without a name': { given: { connectors: 'git', 'configuration.names': '' }, problems: ['configuration.names has an empty item; write names, or "!" and a file to leave out, separated by commas'] },
  'more configurations than anyone has': {
    given: { connectors: 'git', 'configuration.names': Array.from({ length: 101 }, (_, index) => `c${index}`).join(',') },
    problems: ['configuration.names must have at most 100 items; got 101'],
  },
  'parameters in a list': { given: { connectors: 'git', 'configuration.params': '[]' }, problems: ['configuration.params must be JSON of the form {"configuration": {"param": "value"}}'] },
  'parameters in a list within': { given: { connectors: 'git', 'configuration.params': '{"a":["b"]}' }, problems: ['configuration.params must be JSON of the form {"configuration": {"param": "value"}}'] },
  'an attribute of kubelet, also a future one': {
    given: { connectors: 'git', 'csi.storage.k8s.io/anything': '' },
    problems: ['the attribute "csi.storage.k8s.io/anything" is for kubelet to set; remove it'],
  },
}

for (const [name, { given, problems }] of Object.entries(BAD)) {
  await test(`not well formed: ${name}`, async (t) => {
    t.strictSame(readVolumeAttributes(given, 'cicd'), { ok: false, problems })
  })
}

await test('what is read says nothing that was not given, and is never without a Connector', async (t) => {
  const key = fc.constantFrom('connectors', 'connector.name', 'connector.namespace', 'configuration.names', 'configuration.params', 'token.expiration', '__proto__', 'constructor', 'other')
  const value = fc.oneof(fc.string({ unit: 'binary' }), fc.array(fc.constantFrom('a', 'b/c', ' ', '', '!', 'a.-b', '15m')).map((items) => items.join(',')), fc.constantFrom('15m', 'git', 'shared/git,git', '{"a":{"b":"c"}}'), fc.jsonValue())
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.dictionary(key, value)), (given) => {
      const reading = readVolumeAttributes(given, 'cicd')
      if (!reading.ok) return reading.problems.length > 0
      const { connectors, configurationNames, tokenExpirationMs } = reading.attributes
      const names = connectors.map(({ namespace, name }) => `${namespace}/${name}`)
      const text = JSON.stringify(given)
      return (
        names.length > 0 &&
        new Set(names).size === names.length &&
        connectors.every(({ namespace, name }) => text.includes(name) && (namespace === 'cicd' || text.includes(namespace))) &&
        configurationNames.include?.length !== 0 &&
        (tokenExpirationMs === undefined || (tokenExpirationMs >= 600_000 && tokenExpirationMs <= 86_400_000))
      )
    }),
    { numRuns: 2000 },
  )
  t.pass('held')
})
