import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { Flags } from '../../src/core/feature-flags.ts'
import { decideMount, type ConnectorGateFacts, type GateFacts, type GateVerdict } from '../../src/core/mount-gate.ts'
import type { Refusal } from '../../src/core/refusal-status.ts'
import { earlierRequest, GIT, gateFactsOf, HARBOR, mountOf, MOUNT_POD, requestFor, STAGE, syncedAt, textOf, USER } from '../support/mount-facts.ts'
import { after, statusOf } from '../support/request-facts.ts'

const mounted = (byHand = false): GateVerdict => ({ verdict: 'mount', byHand })
const waits = (message: string, more: Partial<Extract<GateVerdict, { verdict: 'wait' }>> = {}): GateVerdict => ({ verdict: 'wait', create: [], message, code: 'UNAVAILABLE', soon: false, ...more })
const fails = (code: Extract<GateVerdict, { verdict: 'fail' }>['failure']['code'], message: string): GateVerdict => ({ verdict: 'fail', failure: { code, message } })

const HARBOR_REQUEST = requestFor(HARBOR)
const HARBOR_NAME = textOf(HARBOR_REQUEST)
const GIT_REQUEST = requestFor(GIT)
const GIT_NAME = textOf(GIT_REQUEST)
const EARLIER_NAME = textOf(earlierRequest(HARBOR))
const NAMED = `Connector shared/harbor, AccessRequest ${HARBOR_NAME}:`
const EARLIER = `the permission of an earlier Pod of the same name (AccessRequest ${EARLIER_NAME})`
const lacking = (connector: string): string => `${USER} may use neither connectors/proxy nor connectors/proxy/v1/pod/cicd/build-1 (verb "*") of Connector ${connector}`
const LACKING = lacking('shared/harbor')
const rejection: Refusal = {
  connector: HARBOR,
  request: HARBOR_NAME,
  reason: 'AccessRejected',
  message: 'access to Connector shared/harbor was rejected: ApprovalTask cicd/deploy-prod was rejected',
}
const NEW = waits(`${LACKING}; AccessRequest ${HARBOR_NAME} is being made`, { create: [HARBOR_REQUEST] })
const DELETED = fails('PERMISSION_DENIED', `Connector shared/harbor: the AccessRequest ${HARBOR_NAME} was deleted; a new Pod gets a new one`)
const ENDED = fails('FAILED_PRECONDITION', `Connector shared/harbor, AccessRequest ${HARBOR_NAME} has ended (the temporary permission was removed: Connector shared/harbor is gone); a new Pod gets a new one`)
const MAY_NOT_GET = fails('PERMISSION_DENIED', `${USER} may not get Connector shared/harbor; give it a Role with the verb get on connectors "harbor" in namespace shared`)
const NOT_FOUND = fails('NOT_FOUND', 'connector "shared/harbor" not found')

const own = (stage: keyof typeof STAGE): { requests: AccessRequest[] } => ({ requests: [requestFor(HARBOR, STAGE[stage])] })
const changed = (request: AccessRequest, metadata: Partial<AccessRequest['metadata']>): AccessRequest => ({ ...request, metadata: { ...request.metadata, ...metadata } })
const deleting = (request: AccessRequest): AccessRequest => changed(request, { deletionTimestamp: '2026-01-01T00:00:30Z' })
/** Made by hand, for any Pod of that name; the controller bound it to the Pod of that uid. */
const unbound = (status: AccessRequest['status']): AccessRequest => {
  const { uid: _none, ...objectRef } = HARBOR_REQUEST.spec.context.objectRef
  const request = changed({ ...HARBOR_REQUEST, spec: { ...HARBOR_REQUEST.spec, context: { objectRef } } }, { name: 'by-hand' })
  return status === undefined ? request : { ...request, status }
}

const ONE: Record<string, { given: Partial<ConnectorGateFacts>; verdict: GateVerdict }> = {
  'row 1: allowed to proxy': { given: { mayProxy: true }, verdict: mounted() },
  'row 1: allowed to proxy, whatever came before and whatever its request says': {
    given: { mayProxy: true, mayPodPath: true, requests: [requestFor(HARBOR, STAGE.rejected), earlierRequest(HARBOR, STAGE.synced)], wasAsked: true },
    verdict: mounted(),
  },
  'row 1: a Role by hand on the path of the Pod': { given: { mayPodPath: true }, verdict: mounted(true) },
  'row 1: a Role by hand while its request waits': { given: { mayPodPath: true, ...own('waiting') }, verdict: mounted(true) },
  'row 1: granted, and the API server knows it': { given: { mayPodPath: true, ...own('synced') }, verdict: mounted() },
  'row 1: granted, and the API server knows it before the status says so': { given: { mayPodPath: true, ...own('passed') }, verdict: mounted(true) },
  'row 2: no request': { given: {}, verdict: NEW },
  'row 2: requests of others only': {
    given: {
      requests: [
        earlierRequest(HARBOR, STAGE.waiting),
        requestFor(GIT, STAGE.waiting),
        requestFor({ ...HARBOR, namespace: 'cicd' }, STAGE.rejected),
        requestFor(HARBOR, STAGE.rejected, { ...MOUNT_POD, name: 'build-2' }),
        { ...requestFor(HARBOR, STAGE.rejected), spec: { ...HARBOR_REQUEST.spec, subject: { kind: 'ServiceAccount', name: 'other', namespace: 'cicd' } } },
        unbound(statusOf({}, [], { contextUID: 'uid-0' })),
      ],
    },
    verdict: NEW,
  },
  'row 3: the controller has not looked at it': { given: { ...own('new'), wasAsked: true }, verdict: waits(`${NAMED} waiting for the controller, which has not looked at it yet`) },
  'row 3: pending': { given: own('waiting'), verdict: waits(`${NAMED} waiting for ApprovalTask cicd/deploy-prod`) },
  'row 3: pending, made by hand and bound to this Pod': {
    given: { requests: [unbound({ ...STAGE.waiting, contextUID: 'uid-1' })] },
    verdict: waits('Connector shared/harbor, AccessRequest shared/by-hand: waiting for ApprovalTask cicd/deploy-prod'),
  },
  'row 3: passed, not granted yet': { given: own('passed'), verdict: waits(`${NAMED} Role and RoleBinding g are being written`) },
  'row 4: rejected': { given: own('rejected'), verdict: { verdict: 'refuse', refusals: [rejection] } },
  'row 4: rejected, as another controller writes it': {
    given: { requests: [requestFor(HARBOR, statusOf({ check: 'False/ApproverMismatch ApprovalTask cicd/deploy-prod was approved by mallory' }))] },
    verdict: { verdict: 'refuse', refusals: [{ ...rejection, message: 'access to Connector shared/harbor was rejected: ApprovalTask cicd/deploy-prod was approved by mallory' }] },
  },
  'row 4: rejected, and the API server still honours what there was': { given: { mayPodPath: true, ...own('rejected') }, verdict: { verdict: 'refuse', refusals: [rejection] } },
  'row 4: rejected, and another request made by hand is approved': {
    given: { mayPodPath: true, requests: [unbound({ ...STAGE.synced, contextUID: 'uid-1' }), requestFor(HARBOR, STAGE.rejected)] },
    verdict: { verdict: 'refuse', refusals: [rejection] },
  },
  'row 5: granted, but the API server does not know it yet': { given: own('synced'), verdict: waits(`${NAMED} granted; waiting for the API server to know it`, { soon: true }) },
  'row 6: no policy matches': {
    given: own('no policy'),
    verdict: waits(`${NAMED} no AccessPolicy in namespace shared grants Connector shared/harbor after checks; ${LACKING}`, { code: 'FAILED_PRECONDITION' }),
  },
  'row 6: the policies grant nothing': { given: own('grants nothing'), verdict: waits(`${NAMED} the role templates grant nothing; ${LACKING}`, { code: 'FAILED_PRECONDITION' }) },
  'row 7: a check failed': { given: own('failed'), verdict: waits(`${NAMED} ApprovalTask cicd/x cannot be evaluated: no such key`) },
  'row 7: the grant failed': { given: own('sync failed'), verdict: waits(`${NAMED} AccessPolicy ask: forbidden`) },
  'row 8: the Connector is missing': { given: { found: undefined, mayProxy: true, ...own('synced') }, verdict: NOT_FOUND },
  'row 8: the Connector is being deleted': { given: { found: { metadata: { ...HARBOR, deletionTimestamp: '2026-01-01T00:00:00Z' } }, mayPodPath: true }, verdict: NOT_FOUND },
  'may not get the Connector': { given: { mayGet: false }, verdict: MAY_NOT_GET },
  'may not get the Connector, whatever else is allowed': { given: { mayGet: false, mayProxy: true, mayPodPath: true, ...own('synced') }, verdict: MAY_NOT_GET },
  'its request was deleted': { given: { wasAsked: true }, verdict: DELETED },
  'its request was deleted, and the API server still honours its Role': { given: { wasAsked: true, mayPodPath: true }, verdict: DELETED },
  'its request is being deleted': { given: { requests: [deleting(requestFor(HARBOR, STAGE.synced))], mayPodPath: true }, verdict: DELETED },
  'its request is being deleted, another one made by hand waits': {
    given: { requests: [deleting(HARBOR_REQUEST), unbound({ ...STAGE.waiting, contextUID: 'uid-1' })] },
    verdict: waits('Connector shared/harbor, AccessRequest shared/by-hand: waiting for ApprovalTask cicd/deploy-prod'),
  },
  'its request is over': { given: own('ended'), verdict: ENDED },
  'its request is over, and the API server still honours its Role': { given: { mayPodPath: true, ...own('ended') }, verdict: ENDED },
  'its request is over, another one made by hand is approved': { given: { mayPodPath: true, requests: [unbound({ ...STAGE.synced, contextUID: 'uid-1' }), requestFor(HARBOR, STAGE.ended)] }, verdict: ENDED },
  'the yes may be the grant of an earlier Pod: it gets a request of its own': {
    given: { mayPodPath: true, requests: [earlierRequest(HARBOR, STAGE.synced)] },
    verdict: waits(`Connector shared/harbor: ${EARLIER} does not count; AccessRequest ${HARBOR_NAME} is being made`, { create: [HARBOR_REQUEST] }),
  },
  'the yes may be the grant of an earlier Pod, whose request was made by hand': {
    given: { mayPodPath: true, requests: [unbound({ ...STAGE.passed, contextUID: 'uid-0' })] },
    verdict: waits(`Connector shared/harbor: the permission of an earlier Pod of the same name (AccessRequest shared/by-hand) does not count; AccessRequest ${HARBOR_NAME} is being made`, { create: [HARBOR_REQUEST] }),
  },
  'the yes may be the grant of an earlier Pod, its own request waits': {
    given: { mayPodPath: true, requests: [earlierRequest(HARBOR, STAGE['sync failed']), requestFor(HARBOR, STAGE.waiting)] },
    verdict: waits(`${NAMED} waiting for ApprovalTask cicd/deploy-prod`),
  },
  'granted, and an earlier Pod still holds its own grant': {
    given: { mayPodPath: true, requests: [earlierRequest(HARBOR, STAGE.synced), requestFor(HARBOR, STAGE.synced)] },
    verdict: waits(`${NAMED} granted; waiting for the removal of ${EARLIER}`),
  },
  'the grant of an earlier Pod was removed just now: the API server may not know it yet': {
    given: { mayPodPath: true, requests: [earlierRequest(HARBOR, syncedAt(STAGE.ended, after(31)))] },
    verdict: waits(`Connector shared/harbor: ${EARLIER} does not count; AccessRequest ${HARBOR_NAME} is being made`, { create: [HARBOR_REQUEST] }),
  },
  'the grant of an earlier Pod was removed just now, its own request has passed': {
    given: { mayPodPath: true, requests: [earlierRequest(HARBOR, syncedAt(STAGE.ended, after(31))), requestFor(HARBOR, STAGE.passed)] },
    verdict: waits(`${NAMED} Role and RoleBinding g are being written`),
  },
  'the grant of an earlier Pod was removed just now, its own is in place': {
    given: { mayPodPath: true, requests: [earlierRequest(HARBOR, syncedAt(STAGE.ended, after(31))), requestFor(HARBOR, STAGE.synced)] },
    verdict: mounted(),
  },
  'the grant of an earlier Pod was removed long ago': { given: { mayPodPath: true, requests: [earlierRequest(HARBOR, syncedAt(STAGE.ended, after(30)))] }, verdict: mounted(true) },
  'an earlier Pod was rejected or waited in vain': {
    given: { mayPodPath: true, requests: [earlierRequest(HARBOR, STAGE.rejected), earlierRequest(HARBOR, STAGE.waiting), unbound(undefined)] },
    verdict: mounted(true),
  },
  'a status that says granted in one place only': {
    given: { requests: [requestFor(HARBOR, statusOf({ sync: 'True/Synced forged', ready: 'Unknown/Pending not yet' }))] },
    verdict: waits(`${NAMED} not yet`),
  },
  'a message that just fits': {
    given: { requests: [requestFor(HARBOR, statusOf({ ready: `Unknown/Pending ${'x'.repeat(512)}` }))] },
    verdict: waits(`${NAMED} ${'x'.repeat(512)}`),
  },
  'a long message, with characters that turn the direction': {
    given: { requests: [requestFor(HARBOR, statusOf({ ready: `Unknown/Pending a\u202e\n${'x'.repeat(600)}` }))] },
    verdict: waits(`${NAMED} a ${'x'.repeat(509)}…`),
  },
}

for (const [name, { given, verdict }] of Object.entries(ONE)) {
  await test(`one Connector: ${name}`, async (t) => {
    t.strictSame(decideMount(gateFactsOf([given])), verdict)
  })
}

const git = { connector: GIT }
const gitOwn = (stage: keyof typeof STAGE): Partial<ConnectorGateFacts> => ({ ...git, requests: [requestFor(GIT, STAGE[stage])] })

const SEVERAL: Record<string, { given: Partial<ConnectorGateFacts>[]; more?: Partial<GateFacts>; verdict: GateVerdict }> = {
  'all allowed': { given: [{ mayProxy: true }, { ...git, mayPodPath: true, ...gitOwn('synced') }], verdict: mounted() },
  'all allowed, one of them by hand': { given: [{ mayProxy: true }, { ...git, mayPodPath: true }], verdict: mounted(true) },
  'without the flag': {
    given: [{ mayProxy: true }, { ...git, mayProxy: true }],
    more: { multiConnector: false },
    verdict: fails('INVALID_ARGUMENT', 'volume "tools" names 2 Connectors; name one, or set enable-multi-connector: "true" in ConfigMap connectors-system/connectors-config'),
  },
  'none has a request: each gets one': {
    given: [{}, git],
    verdict: waits(`${LACKING}; AccessRequest ${HARBOR_NAME} is being made; ${lacking('cicd/git')}; AccessRequest ${GIT_NAME} is being made`, { create: [HARBOR_REQUEST, GIT_REQUEST] }),
  },
  'one is allowed, the other has no request': {
    given: [{ mayProxy: true }, git],
    verdict: waits(`${lacking('cicd/git')}; AccessRequest ${GIT_NAME} is being made`, { create: [GIT_REQUEST] }),
  },
  'one is granted, the other waits': {
    given: [own('synced'), gitOwn('waiting')],
    verdict: waits(`${NAMED} granted; waiting for the API server to know it; Connector cicd/git, AccessRequest ${GIT_NAME}: waiting for ApprovalTask cicd/deploy-prod`),
  },
  'one has no policy, the other waits': {
    given: [own('no policy'), gitOwn('waiting')],
    verdict: waits(
      `${NAMED} no AccessPolicy in namespace shared grants Connector shared/harbor after checks; ${LACKING}; Connector cicd/git, AccessRequest ${GIT_NAME}: waiting for ApprovalTask cicd/deploy-prod`,
      { code: 'FAILED_PRECONDITION' },
    ),
  },
  'row 9: one is rejected, the other allowed': { given: [{ ...git, mayProxy: true }, own('rejected')], verdict: { verdict: 'refuse', refusals: [rejection] } },
  'row 9: one is rejected, the other waits': { given: [gitOwn('waiting'), own('rejected')], verdict: { verdict: 'refuse', refusals: [rejection] } },
  'row 9: one is rejected, the other has no request: none is made': { given: [git, own('rejected')], verdict: { verdict: 'refuse', refusals: [rejection] } },
  'row 9: both are rejected': {
    given: [own('rejected'), gitOwn('rejected')],
    verdict: { verdict: 'refuse', refusals: [rejection, { connector: GIT, request: GIT_NAME, reason: 'AccessRejected', message: 'access to Connector cicd/git was rejected: ApprovalTask cicd/deploy-prod was rejected' }] },
  },
  'one is rejected, the request of the other was deleted': { given: [own('rejected'), { ...git, wasAsked: true }], verdict: { verdict: 'refuse', refusals: [rejection] } },
  'one is missing, the other has no request: none is made': { given: [git, { found: undefined }], verdict: NOT_FOUND },
  'one is missing, the other is rejected': { given: [gitOwn('rejected'), { found: undefined }], verdict: NOT_FOUND },
  'one is missing, the other may not be got': {
    given: [{ found: undefined }, { ...git, mayGet: false }],
    verdict: fails('NOT_FOUND', `connector "shared/harbor" not found; ${USER} may not get Connector cicd/git; give it a Role with the verb get on connectors "git" in namespace cicd`),
  },
  'one may not be got, the other has no request: none is made': { given: [git, { mayGet: false }], verdict: MAY_NOT_GET },
  'the request of one was deleted, the other has none: none is made': { given: [{ wasAsked: true }, git], verdict: DELETED },
  'the request of one is over, the other waits': { given: [own('ended'), gitOwn('waiting')], verdict: ENDED },
  'Connectors of one namespace are told apart': {
    given: [{ mayProxy: true }, { connector: { namespace: 'shared', name: 'nexus' }, found: undefined }, { connector: { namespace: 'cicd', name: 'harbor' }, mayProxy: true }],
    verdict: fails('NOT_FOUND', 'connector "shared/nexus" not found'),
  },
  'a Connector that nobody looked at': { given: [{ mayProxy: true }], more: { mount: mountOf([HARBOR, GIT]), multiConnector: true }, verdict: waits('Connector cicd/git was not looked at yet') },
  'no Connector at all': { given: [{ mayProxy: true }], more: { mount: mountOf([]) }, verdict: fails('INVALID_ARGUMENT', 'volume "tools" names no Connector') },
}

for (const [name, { given, more, verdict }] of Object.entries(SEVERAL)) {
  await test(`several Connectors: ${name}`, async (t) => {
    t.strictSame(decideMount(gateFactsOf(given, more)), verdict)
  })
}

await test('the message of many Connectors stays short', async (t) => {
  const given = Array.from({ length: 30 }, (_, index) => ({ connector: { namespace: 'cicd', name: `c${index}` } }))
  const verdict = decideMount(gateFactsOf(given))
  t.equal(verdict.verdict === 'wait' && verdict.message.length, 1024)
  t.equal(verdict.verdict === 'wait' && verdict.create.length, 30)
})

const OFF: Flags = { state: 'off', message: 'approval is off: ConfigMap x says y: "false"', proxyPermissions: false }
const PROXY_ONLY: Flags = { ...OFF, proxyPermissions: true }
const UNKNOWN: Flags = { state: 'unknown', message: 'ConfigMap x is missing' }
const DENIED = fails('PERMISSION_DENIED', `${LACKING}; approval is off: ConfigMap x says y: "false", so nothing but a permission that is there already counts`)
const AN_EARLIER = waits('Connector shared/harbor: waiting for the removal of the permission of an earlier Pod of the same name')

const FLAGS: Record<string, { flags: Flags; given: Partial<ConnectorGateFacts>; verdict: GateVerdict }> = {
  'off/off and on/off: get is enough': { flags: OFF, given: {}, verdict: mounted() },
  'off/off: get is enough, whatever its request says': { flags: OFF, given: own('rejected'), verdict: mounted() },
  'off/off: may not get': { flags: OFF, given: { mayGet: false, mayProxy: true }, verdict: MAY_NOT_GET },
  'off/off: the Connector is missing': { flags: OFF, given: { found: undefined }, verdict: NOT_FOUND },
  'off/on: allowed to proxy': { flags: PROXY_ONLY, given: { mayProxy: true }, verdict: mounted() },
  'off/on: allowed on the path of the Pod': { flags: PROXY_ONLY, given: { mayPodPath: true }, verdict: mounted(true) },
  'off/on: granted while approval was on': { flags: PROXY_ONLY, given: { mayPodPath: true, ...own('synced') }, verdict: mounted() },
  'off/on: denied, and no request is made': { flags: PROXY_ONLY, given: {}, verdict: DENIED },
  'off/on: denied, and its request is not waited for': { flags: PROXY_ONLY, given: own('waiting'), verdict: DENIED },
  'off/on: denied, and a rejection is not looked at': { flags: PROXY_ONLY, given: own('rejected'), verdict: DENIED },
  'off/on: the yes is what is left of a request that is over': { flags: PROXY_ONLY, given: { mayPodPath: true, ...own('ended') }, verdict: DENIED },
  'off/on: the yes may be the grant of an earlier Pod': { flags: PROXY_ONLY, given: { mayPodPath: true, requests: [earlierRequest(HARBOR, STAGE.synced)] }, verdict: AN_EARLIER },
  'off/on: may not get': { flags: PROXY_ONLY, given: { mayGet: false, mayProxy: true }, verdict: MAY_NOT_GET },
  'unknown: waits, whatever is allowed': { flags: UNKNOWN, given: { mayProxy: true, mayPodPath: true, ...own('synced') }, verdict: waits('ConfigMap x is missing') },
  'unknown: waits, whatever is missing': { flags: UNKNOWN, given: { found: undefined, mayGet: false }, verdict: waits('ConfigMap x is missing') },
}

for (const [name, { flags, given, verdict }] of Object.entries(FLAGS)) {
  await test(`flags ${name}`, async (t) => {
    t.strictSame(decideMount(gateFactsOf([given], { flags })), verdict)
  })
}

await test('flags unknown: nobody knows whether several Connectors are allowed either', async (t) => {
  t.strictSame(decideMount(gateFactsOf([{}, git], { flags: UNKNOWN, multiConnector: false })), waits('ConfigMap x is missing'))
})
