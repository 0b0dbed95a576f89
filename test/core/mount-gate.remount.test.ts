/** What a volume of a running Pod holds from now on. */
import { test } from 'tap'
import type { Flags } from '../../src/core/feature-flags.ts'
import { decideRemount, type ConnectorGateFacts, type GateFacts } from '../../src/core/mount-gate.ts'
import type { Refusal } from '../../src/core/refusal-status.ts'
import { earlierRequest, GIT, gateFactsOf, HARBOR, mountOf, requestFor, STAGE, syncedAt, textOf, USER } from '../support/mount-facts.ts'
import { after } from '../support/request-facts.ts'

type Outcome = ReturnType<typeof decideRemount>
const FILES: Outcome = { files: true }
const KEEP: Outcome = { keep: true }
const NAME = textOf(requestFor(HARBOR))
const LACKING = `${USER} may use neither connectors/proxy nor connectors/proxy/v1/pod/cicd/build-1 (verb "*") of Connector shared/harbor`
const refusal = (why: string, request: string | undefined = NAME): Refusal => ({ connector: HARBOR, request, reason: 'AccessRevoked', message: `access to Connector shared/harbor was revoked: ${why}` })
const revoked = (why: string, request?: string, isDoubtful = false): Outcome => ({ keep: false, refusals: [{ ...refusal(why), request }], isDoubtful })

const on: Flags = { state: 'on' }
const off = (proxyPermissions: boolean): Flags => ({ state: 'off', message: 'approval is off', proxyPermissions })
const own = (stage: keyof typeof STAGE): Partial<ConnectorGateFacts> => ({ requests: [requestFor(HARBOR, STAGE[stage])], wasAsked: true })
const syncedSince = (seconds: number): Partial<ConnectorGateFacts> => ({ requests: [requestFor(HARBOR, syncedAt(STAGE.synced, after(seconds)))] })

const CASES: Record<string, { flags?: Flags; given: Partial<ConnectorGateFacts>; outcome: Outcome }> = {
  'still granted': { given: { mayPodPath: true, ...own('synced') }, outcome: FILES },
  'allowed to proxy, whatever its request says': { given: { mayProxy: true, ...own('rejected') }, outcome: FILES },
  'a Role by hand': { given: { mayPodPath: true }, outcome: FILES },
  'a check turned': { given: own('rejected'), outcome: revoked('ApprovalTask cicd/deploy-prod was rejected', NAME) },
  'a check turned, and the API server still honours the Role': { given: { mayPodPath: true, ...own('rejected') }, outcome: revoked('ApprovalTask cicd/deploy-prod was rejected', NAME) },
  'its request has ended': {
    given: { mayPodPath: true, ...own('ended') },
    outcome: revoked(`Connector shared/harbor, AccessRequest ${NAME} has ended (the temporary permission was removed: Connector shared/harbor is gone); a new Pod gets a new one`, NAME),
  },
  'its request was deleted': { given: { wasAsked: true, mayPodPath: true }, outcome: revoked(`Connector shared/harbor: the AccessRequest ${NAME} was deleted; a new Pod gets a new one`, NAME) },
  'the Role by hand was removed': { given: {}, outcome: revoked(LACKING) },
  'the Role by hand was removed, its request waits': { given: own('waiting'), outcome: revoked(LACKING, NAME) },
  'granted just now: the API server may not know it yet': { given: syncedSince(31), outcome: KEEP },
  'granted by a clock that is ahead': { given: syncedSince(90), outcome: KEEP },
  'granted long ago, and denied': { given: syncedSince(30), outcome: revoked(LACKING, NAME, true) },
  'granted long ago, and denied to get the Connector': {
    given: { ...syncedSince(30), mayGet: false },
    outcome: revoked(`${USER} may not get Connector shared/harbor; give it a Role with the verb get on connectors "harbor" in namespace shared`, undefined, true),
  },
  'granted long ago, and the Connector is gone': { given: { ...syncedSince(30), found: undefined }, outcome: revoked('connector "shared/harbor" not found') },
  'flags off/on: granted long ago, and denied': {
    flags: off(true),
    given: syncedSince(30),
    outcome: revoked(`${LACKING}; approval is off, so nothing but a permission that is there already counts`, undefined, true),
  },
  'the yes may be that of an earlier Pod': { given: { mayPodPath: true, requests: [earlierRequest(HARBOR, STAGE.synced), requestFor(HARBOR, STAGE.synced)] }, outcome: KEEP },
  'the Connector is gone': { given: { found: undefined, mayProxy: true }, outcome: revoked('connector "shared/harbor" not found') },
  'may not get the Connector any more': {
    given: { mayGet: false, mayProxy: true },
    outcome: revoked(`${USER} may not get Connector shared/harbor; give it a Role with the verb get on connectors "harbor" in namespace shared`),
  },
  'flags unknown': { flags: { state: 'unknown', message: 'x' }, given: { found: undefined, mayGet: false }, outcome: KEEP },
  'flags unknown, and everything allowed': { flags: { state: 'unknown', message: 'x' }, given: { mayProxy: true }, outcome: KEEP },
  'flags off: get is enough': { flags: off(false), given: own('rejected'), outcome: FILES },
  'flags off: may not get': {
    flags: off(false),
    given: { mayGet: false },
    outcome: revoked(`${USER} may not get Connector shared/harbor; give it a Role with the verb get on connectors "harbor" in namespace shared`),
  },
  'flags off/on: denied': { flags: off(true), given: {}, outcome: revoked(`${LACKING}; approval is off, so nothing but a permission that is there already counts`) },
  'flags off/on: the yes may be that of an earlier Pod': { flags: off(true), given: { mayPodPath: true, requests: [earlierRequest(HARBOR, STAGE.synced)] }, outcome: KEEP },
}

for (const [name, { flags = on, given, outcome }] of Object.entries(CASES)) {
  await test(`remount: ${name}`, async (t) => {
    t.strictSame(decideRemount(gateFactsOf([given], { flags })), outcome)
  })
  await test(`remount of a refused volume: ${name}`, async (t) => {
    t.strictSame(decideRemount(gateFactsOf([given], { flags }), 'refused'), outcome === FILES ? FILES : KEEP)
  })
}

const SEVERAL: Record<string, { given: Partial<ConnectorGateFacts>[]; more?: Partial<GateFacts>; outcome: Outcome }> = {
  'all allowed, also when several are not allowed any more': { given: [{ mayProxy: true }, { connector: GIT, mayProxy: true }], more: { multiConnector: false }, outcome: FILES },
  'one is revoked': { given: [{ connector: GIT, mayProxy: true }, own('rejected')], outcome: revoked('ApprovalTask cicd/deploy-prod was rejected', NAME) },
  'one is revoked, the other not clear': {
    given: [own('rejected'), { connector: GIT, requests: [requestFor(GIT, syncedAt(STAGE.synced, after(50)))] }],
    outcome: revoked('ApprovalTask cicd/deploy-prod was rejected', NAME),
  },
  'one is revoked, the other is denied against its request': {
    given: [own('rejected'), { connector: GIT, requests: [requestFor(GIT, syncedAt(STAGE.synced, after(30)))] }],
    outcome: revoked('ApprovalTask cicd/deploy-prod was rejected', NAME),
  },
  'both are revoked': {
    given: [own('rejected'), { connector: GIT, found: undefined }],
    outcome: {
      keep: false,
      refusals: [refusal('ApprovalTask cicd/deploy-prod was rejected'), { connector: GIT, request: undefined, reason: 'AccessRevoked', message: 'access to Connector cicd/git was revoked: connector "cicd/git" not found' }],
      isDoubtful: false,
    },
  },
  'one that nobody looked at': { given: [{ mayProxy: true }], more: { mount: mountOf([HARBOR, GIT]) }, outcome: KEEP },
  'no Connector': { given: [], outcome: KEEP },
}

for (const [name, { given, more, outcome }] of Object.entries(SEVERAL)) {
  await test(`remount of several Connectors: ${name}`, async (t) => {
    t.strictSame(decideRemount(gateFactsOf(given, more)), outcome)
  })
}
