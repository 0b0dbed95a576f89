import { test } from 'tap'
import { readPublishRequest, readRegistrationStatus, readUnpublishRequest } from '../../../src/csi/wire/messages.ts'
import { wireMethods, type Message, type ServiceName } from '../../../src/csi/wire/services.ts'

const NOTHING = { volumeId: '', targetPath: '', readOnly: false, context: new Map(), publishContext: new Map(), secrets: new Map(), capability: undefined }
const NO_CAPABILITY = { isMount: false, volumeMountGroup: '' }

const publishes: Record<string, { message: Message; read: unknown }> = {
  'nothing at all': { message: {}, read: NOTHING },
  'fields of other types': { message: { volumeId: 7, targetPath: null, readonly: 'true', volumeContext: 'x', secrets: ['a'], volumeCapability: 'mount' }, read: { ...NOTHING, secrets: new Map([['0', 'a']]) } },
  'values of a map that are no text': { message: { volumeContext: { a: 'b', c: 7, d: null } }, read: { ...NOTHING, context: new Map([['a', 'b']]) } },
  'an empty capability': { message: { volumeCapability: {} }, read: { ...NOTHING, capability: NO_CAPABILITY } },
  'a mount': { message: { volumeCapability: { mount: {} } }, read: { ...NOTHING, capability: { ...NO_CAPABILITY, isMount: true } } },
  'a mount with a group': { message: { volumeCapability: { mount: { volumeMountGroup: '12' } } }, read: { ...NOTHING, capability: { isMount: true, volumeMountGroup: '12' } } },
  'a block device': { message: { volumeCapability: { block: {} } }, read: { ...NOTHING, capability: NO_CAPABILITY } },
  'both': { message: { volumeCapability: { block: {}, mount: {} } }, read: { ...NOTHING, capability: NO_CAPABILITY } },
  'what only a prototype has': { message: Object.create({ volumeId: 'inherited', readonly: true }), read: NOTHING },
}

for (const [sentence, { message, read }] of Object.entries(publishes))
  await test(`a publish request is read: ${sentence}`, (t) => {
    t.strictSame(readPublishRequest(message), read)
    t.end()
  })

await test('the other messages are read the same way', (t) => {
  t.strictSame(readUnpublishRequest({}), { volumeId: '', targetPath: '' })
  t.strictSame(readUnpublishRequest({ volumeId: 'v', targetPath: '/t' }), { volumeId: 'v', targetPath: '/t' })
  t.strictSame(readRegistrationStatus({}), { registered: false, error: '' })
  t.strictSame(readRegistrationStatus({ pluginRegistered: true, error: 'e' }), { registered: true, error: 'e' })
  t.end()
})

/** Bytes as the Go code of the interface writes them. */
const bytes: Record<string, { service: ServiceName; method: string; side: 'request' | 'response'; message: Message; hex: string }> = {
  'an unpublish request': { service: 'csi.v1.Node', method: 'NodeUnpublishVolume', side: 'request', message: { volumeId: 'v', targetPath: '/t' }, hex: '0a0176 12022f74' },
  'what a node can do': { service: 'csi.v1.Node', method: 'NodeGetCapabilities', side: 'response', message: { capabilities: [{ rpc: { type: 6 } }] }, hex: '0a04 0a02 0806' },
  'that a plugin is ready': { service: 'csi.v1.Identity', method: 'Probe', side: 'response', message: { ready: { value: true } }, hex: '0a02 0801' },
  'who a plugin is': {
    service: 'pluginregistration.Registration',
    method: 'GetInfo',
    side: 'response',
    message: { type: 'CSIPlugin', name: 'n', endpoint: '/e', supportedVersions: ['1.0.0'] },
    hex: '0a09435349506c7567696e 12016e 1a022f65 2205312e302e30',
  },
  'a message without fields': { service: 'csi.v1.Node', method: 'NodePublishVolume', side: 'response', message: {}, hex: '' },
}

for (const [sentence, { service, method, side, message, hex }] of Object.entries(bytes))
  await test(`bytes are written and read: ${sentence}`, (t) => {
    const wire = wireMethods(service).get(method)
    if (wire === undefined) return t.fail('there is no such method')
    const [write, read] = side === 'request' ? [wire.requestSerialize, wire.requestDeserialize] : [wire.responseSerialize, wire.responseDeserialize]
    const sent = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    t.strictSame(write(message), sent)
    t.strictSame(read(sent), message)
    t.end()
  })

const names = (service: ServiceName): string[] => [...wireMethods(service).values()].map(({ path }) => path)

await test('each service has its methods, and no other', (t) => {
  t.strictSame(names('csi.v1.Identity'), ['GetPluginInfo', 'GetPluginCapabilities', 'Probe'].map((name) => `/csi.v1.Identity/${name}`))
  t.strictSame(names('csi.v1.Node'), ['NodePublishVolume', 'NodeUnpublishVolume', 'NodeGetCapabilities', 'NodeGetInfo'].map((name) => `/csi.v1.Node/${name}`))
  t.strictSame(names('pluginregistration.Registration'), ['GetInfo', 'NotifyRegistrationStatus'].map((name) => `/pluginregistration.Registration/${name}`))
  t.end()
})
