import { test } from 'tap'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { CodedError } from '../../src/errors.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'
import { fakeTime, settle } from '../support/fake-time.ts'
import { changed, harness, UID, type Harness } from './harness.ts'

const PATH = '/validate/access-policy'
const ROLE = 'connectors-use-connectors-proxy-in-pod'
const CHECK = 'connectors-approvals-in-pipeline'

const policy = {
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'gate', namespace: 'shared' },
  spec: {
    connector: { names: ['harbor'] },
    checkGrantedPermission: {
      spec: {
        checks: [{ name: 'approval', ref: { configMap: { name: CHECK } } }],
        roleTemplate: { ref: { configMap: { name: ROLE } } },
      },
    },
  },
}

const template = (name: string, data: Record<string, string>, annotations: Record<string, string> = {}): object => ({
  metadata: { name, namespace: SYSTEM_NAMESPACE, annotations },
  data,
})

const withTemplates = (): Harness => {
  const made = harness()
  made.kube.put(CONFIG_MAPS, {
    metadata: { name: ROLE, namespace: SYSTEM_NAMESPACE },
    data: { rules: '[{apiGroups: [connectors.alauda.io], resources: [x], verbs: ["*"]}]' },
  })
  made.kube.put(CONFIG_MAPS, {
    metadata: { name: CHECK, namespace: SYSTEM_NAMESPACE },
    data: { spec: '{selector: {objectRef: {apiVersion: openshift-pipelines.org/v1alpha1, kind: ApprovalTask}, matchLabels: {a: b}}}' },
  })
  return made
}

const inline = (spec: object): object => changed(policy, 'spec.checkGrantedPermission.spec.checks', [{ name: 'approval', spec }])
const SELECTOR = { objectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x' } }

const WRONG: Record<string, { object: object; message: RegExp }> = {
  'names together with labels': {
    object: changed(policy, 'spec.connector.matchLabels', { a: 'b' }),
    message: /^spec\.connector: must have either names or labels/,
  },
  'a check with neither ref nor spec': {
    object: changed(policy, 'spec.checkGrantedPermission.spec.checks', [{ name: 'approval' }]),
    message: /^spec\.checkGrantedPermission\.spec\.checks\[0\]: must have exactly one of ref and spec; got neither$/,
  },
  'no check at all': { object: changed(policy, 'spec.checkGrantedPermission.spec.checks', []), message: /must have at least one check/ },
  'a Secret as a check': {
    object: inline({ selector: { objectRef: { apiVersion: 'v1', kind: 'Secret', name: 'x' } } }),
    message: /spec\.selector\.objectRef\.kind: must not be Secret/,
  },
  rego: { object: inline({ selector: SELECTOR, state: { rego: 'package x' } }), message: /state\.rego: is not supported; write state\.cel/ },
  'CEL that does not compile': { object: inline({ selector: SELECTOR, state: { cel: 'object.' } }), message: /spec\.checks\[0\]\.spec\.state\.cel: / },
  'CEL with a name that is not there': {
    object: inline({ selector: SELECTOR, state: { cel: 'nobody == "x" ? "passed" : "pending"' } }),
    message: /spec\.state\.cel: /,
  },
  'a template that cannot be parsed': {
    object: inline({ selector: { ...SELECTOR, matchLabels: { a: '{.object' } } }),
    message: /spec\.selector\.matchLabels\["a"\]: /,
  },
  'two checks of a name, and no role template': {
    object: changed(policy, 'spec.checkGrantedPermission.spec', {
      checks: [
        { name: 'a', ref: { configMap: { name: 'x' } } },
        { name: 'a', ref: { configMap: { name: 'x' } } },
      ],
    }),
    message: /spec\.checks\[1\]\.name: must be unique.*; spec\.checkGrantedPermission\.spec\.roleTemplate: is required$/,
  },
  'no spec': { object: changed(policy, 'spec', undefined), message: /^spec: is required$/ },
}

for (const [name, { object, message }] of Object.entries(WRONG)) {
  await test(`refused: ${name}`, async (t) => {
    const { ask, kube } = withTemplates()
    const answer = await ask(PATH, { object, name: 'gate' })
    t.match(answer, {
      uid: UID,
      allowed: false,
      status: { code: 422, reason: 'Invalid', message, details: { group: 'connectors.alauda.io', kind: 'AccessPolicy', name: 'gate' } },
    })
    t.strictSame(kube.calls, [])
  })
}

await test('a good policy passes without a warning; each template is read once', async (t) => {
  const { ask, kube } = withTemplates()
  t.strictSame(await ask(PATH, { object: policy }), { uid: UID, allowed: true })
  t.strictSame(
    kube.calls.map(({ verb, namespace, name }) => [verb, namespace, name]),
    [
      ['get', SYSTEM_NAMESPACE, ROLE],
      ['get', SYSTEM_NAMESPACE, CHECK],
    ],
  )
})

const WARNED: Record<string, { object?: object; templates?: object[]; without?: string[]; warnings: (string | RegExp)[] }> = {
  'no block at all': { object: changed(policy, 'spec.checkGrantedPermission', undefined), warnings: [/has no effect/] },
  'a default permission': {
    object: changed(policy, 'spec.defaultPermission', {
      roleTemplate: { ref: { configMap: { name: ROLE } } },
      bindingTemplate: { serviceAccounts: [{ names: ['a'] }] },
    }),
    warnings: [/defaultPermission is not in effect yet/],
  },
  'a template that is not bound to one Pod': {
    templates: [template(ROLE, { rules: '[{verbs: ["*"]}]' }, { 'connectors.alauda.io/unbound': 'true' })],
    warnings: [/is not bound to one Pod/],
  },
  'no role template': {
    without: [ROLE],
    warnings: [/^ConfigMap connectors-system\/connectors-use-connectors-proxy-in-pod, the role template of this policy, was not found/],
  },
  'no check template': { without: [CHECK], warnings: [`ConfigMap connectors-system/${CHECK} does not exist: the policy grants nothing until it does`] },
  'a check template that cannot be read': {
    templates: [template(CHECK, { other: '' })],
    warnings: [`the template ConfigMap connectors-system/${CHECK} cannot be used: it has no key "spec"`],
  },
}

for (const [name, { object = policy, templates = [], without = [], warnings }] of Object.entries(WARNED)) {
  await test(`warned of: ${name}`, async (t) => {
    const { ask, kube } = withTemplates()
    for (const one of templates) kube.put(CONFIG_MAPS, one as { metadata: { name: string } })
    for (const one of without) kube.drop(CONFIG_MAPS, SYSTEM_NAMESPACE, one)
    const answer = await ask(PATH, { object })
    t.equal(answer.allowed, true)
    t.match(answer.warnings, warnings)
    t.equal(answer.warnings?.length, warnings.length)
  })
}

const noEffect = changed(policy, 'spec.defaultPermission', {
  roleTemplate: { ref: { configMap: { name: 'other' } } },
  bindingTemplate: { serviceAccounts: [{ names: ['a'] }] },
})

await test('a read that fails leaves the warnings that need none', async (t) => {
  const { ask, kube, lines } = withTemplates()
  kube.fail('get', CONFIG_MAPS, new CodedError('KUBE_UNAVAILABLE', 'the API server is away'))
  const answer = await ask(PATH, { object: noEffect })
  t.match(answer, { allowed: true, warnings: [/defaultPermission is not in effect yet/] })
  t.equal(answer.warnings?.length, 1)
  t.strictSame(lines.messages(), ['warn the templates of a policy could not be read; it is admitted without the warnings that need them'])
})

await test('so does one that hangs', async (t) => {
  const time = fakeTime()
  const { ask, kube, lines } = harness({ timers: time.timers, clock: time.clock })
  const release = kube.hold('get')
  const asked = ask(PATH, { object: noEffect })
  while (kube.calls.length < 3) await settle()
  await time.advance(1_000)
  const answer = await asked
  t.match(answer, { allowed: true, warnings: [/defaultPermission is not in effect yet/] })
  t.equal(answer.warnings?.length, 1)
  t.equal(lines.lines.length, 1)
  t.equal(time.pendingTimers, 0)
  release()
  await settle()
})

await test('an update that leaves the spec alone is not looked at, one that changes it is', async (t) => {
  const { ask, kube } = withTemplates()
  const old = changed(policy, 'spec.connector.matchLabels', { a: 'b' })
  t.strictSame(await ask(PATH, { operation: 'UPDATE', oldObject: old, object: changed(old, 'metadata.labels', { a: 'b' }) }), { uid: UID, allowed: true })
  t.strictSame(await ask(PATH, { operation: 'DELETE', oldObject: old }), { uid: UID, allowed: true })
  t.strictSame(kube.calls, [])
  t.match(await ask(PATH, { operation: 'UPDATE', oldObject: policy, object: old }), { allowed: false, status: { code: 422 } })
})
