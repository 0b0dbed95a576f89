import { test } from 'tap'
import { isMultiConnector, readFlags, type Flags } from '../../src/core/feature-flags.ts'

const APPROVAL = 'enable-connectors-approval'
const PROXY = 'enable-connector-proxy-permissions'
const WHERE = 'ConfigMap connectors-system/connectors-config'

const off = (key: string, proxyPermissions = false): Flags => ({ state: 'off', message: `approval is off: ${WHERE} says ${key}: "false"`, proxyPermissions })
const unknown = (message: string): Flags => ({ state: 'unknown', message })

const CASES: Record<string, { data: Record<string, string> | undefined; flags: Flags }> = {
  'both true': { data: { [APPROVAL]: 'true', [PROXY]: 'true', other: 'x' }, flags: { state: 'on' } },
  'approval false': { data: { [APPROVAL]: 'false', [PROXY]: 'true' }, flags: off(APPROVAL, true) },
  'proxy permissions false': { data: { [APPROVAL]: 'true', [PROXY]: 'false' }, flags: off(PROXY) },
  'both false': { data: { [APPROVAL]: 'false', [PROXY]: 'false' }, flags: off(APPROVAL) },
  'one false and the other missing': { data: { [PROXY]: 'false' }, flags: off(PROXY) },
  'proxy permissions false and approval another word': { data: { [APPROVAL]: 'no', [PROXY]: 'false' }, flags: off(PROXY) },
  'approval false and proxy permissions missing: nobody knows what a mount takes': { data: { [APPROVAL]: 'false' }, flags: unknown(`${WHERE} has no key ${PROXY}; write "true" or "false"`) },
  'approval false and proxy permissions another word': { data: { [APPROVAL]: 'false', [PROXY]: 'off' }, flags: unknown(`${WHERE} says ${PROXY}: "off"; write "true" or "false"`) },
  'one missing': { data: { [PROXY]: 'true' }, flags: unknown(`${WHERE} has no key ${APPROVAL}; write "true" or "false"`) },
  'another spelling is no flag': { data: { [APPROVAL]: 'True', [PROXY]: 'true' }, flags: unknown(`${WHERE} says ${APPROVAL}: "True"; write "true" or "false"`) },
  'an empty value': { data: { [APPROVAL]: 'true', [PROXY]: '' }, flags: unknown(`${WHERE} says ${PROXY}: ""; write "true" or "false"`) },
  'no data': { data: undefined, flags: unknown(`${WHERE} has no key ${APPROVAL}; write "true" or "false"`) },
}

for (const [name, { data, flags }] of Object.entries(CASES)) {
  await test(name, async (t) => {
    t.strictSame(readFlags({ metadata: { name: 'connectors-config' }, ...(data === undefined ? {} : { data }) }), flags)
  })
}

await test('no ConfigMap', async (t) => {
  t.strictSame(readFlags(undefined), unknown(`${WHERE} is missing or cannot be read, so nobody knows whether approval is on`))
})

const SEVERAL: Record<string, { data: Record<string, string> | undefined; isMulti: boolean }> = {
  'true': { data: { 'enable-multi-connector': 'true' }, isMulti: true },
  'false': { data: { 'enable-multi-connector': 'false' }, isMulti: false },
  'another spelling': { data: { 'enable-multi-connector': 'True' }, isMulti: false },
  'no such key': { data: { [APPROVAL]: 'true' }, isMulti: false },
  'no data': { data: undefined, isMulti: false },
}

for (const [name, { data, isMulti }] of Object.entries(SEVERAL)) {
  await test(`several Connectors in one volume: ${name}`, async (t) => {
    t.equal(isMultiConnector({ metadata: { name: 'connectors-config' }, ...(data === undefined ? {} : { data }) }), isMulti)
  })
}

await test('several Connectors in one volume: no ConfigMap', async (t) => {
  t.equal(isMultiConnector(undefined), false)
})
