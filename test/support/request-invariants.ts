/** What holds for one request whatever happens, told anew and not by the code under test. */
import type { AccessRequestStatus } from '../../src/api/access-request.ts'
import type { ConfigMap } from '../../src/api/config-map.ts'
import { FLAGS_CONFIG_MAP } from '../../src/api/names.ts'
import { isFinal } from '../../src/core/conditions.ts'
import type { Grant } from '../../src/core/grant.ts'
import { boundUid } from '../../src/core/pod-context.ts'
import { POD_PATH } from './request-facts.ts'
import { STRAY } from './request-histories.ts'
import type { World, Write } from './request-world.ts'

const fail = (what: string): never => {
  throw new Error(what)
}
export const must = (holds: boolean, what: string): void => {
  if (!holds) fail(what)
}

const conditionStatus = (status: AccessRequestStatus | undefined, type: string): string | undefined =>
  status?.conditions?.find((condition) => condition.type === type)?.status

/** I1, told anew and not by the code under test. */
const isRecordedAsPassed = (status: AccessRequestStatus | undefined): boolean =>
  conditionStatus(status, 'AccessCheckReady') === 'True' &&
  (status?.policies ?? []).length > 0 &&
  (status?.policies ?? []).every(({ policySpec, matchedChecks }) => {
    const names = policySpec.checkGrantedPermission?.spec.checks.map(({ name }) => name) ?? []
    return (
      names.length > 0 &&
      names.every((name) => (matchedChecks ?? []).some((matched) => matched.name === name)) &&
      (matchedChecks ?? []).every(({ condition }) => condition.status === 'True')
    )
  })

const RULE = { apiGroups: ['connectors.alauda.io'], verbs: ['*'], resourceNames: ['prod-harbor'] }

const checkGrant = ({ policy, role, binding }: Grant, { facts, before }: Write): void => {
  must(facts.confirmed, 'a grant was made from facts that are not confirmed')
  must(facts.flags.state === 'on', 'a grant was made with the flags not on')
  must(facts.pod.state === 'live' && facts.pod.pod.metadata.deletionTimestamp === undefined, 'a grant was made for a Pod that is not live')
  must(facts.connector !== undefined && facts.connector.metadata.uid === before.status?.connectorUID, 'a grant was made without its Connector')
  const snapshot = before.status?.policies?.find(({ name }) => name === policy)
  const resource = snapshot?.unbound === true ? 'connectors/proxy' : POD_PATH
  must(
    JSON.stringify(sorted(role.rules)) === JSON.stringify(sorted([{ ...RULE, resources: [resource] }])),
    `a grant reaches too far: ${JSON.stringify(role.rules)}`,
  )
  must(JSON.stringify(binding.subjects) === '[{"kind":"ServiceAccount","name":"builder","namespace":"cicd"}]', 'a grant is for somebody else')
}

const sorted = (rules: readonly object[]): unknown => rules.map((rule) => Object.entries(rule).toSorted(([a], [b]) => (a < b ? -1 : 1)))

const checkSnapshot = (before: AccessRequestStatus | undefined, status: AccessRequestStatus): void => {
  if (before?.connectorUID !== status.connectorUID || before?.policies === undefined) return
  must(JSON.stringify(before.policies.map(({ name }) => name)) === JSON.stringify(status.policies?.map(({ name }) => name)), 'the matched policies changed')
  for (const old of before.policies) {
    const now = status.policies?.find(({ name }) => name === old.name)
    must(JSON.stringify(now?.policySpec) === JSON.stringify(old.policySpec), 'the spec of a matched policy changed')
    for (const check of old.checks ?? [])
      must(JSON.stringify(now?.checks?.find(({ name }) => name === check.name)) === JSON.stringify(check), 'a resolved check changed')
    if (old.rules !== undefined) must(JSON.stringify(now?.rules) === JSON.stringify(old.rules), 'rendered rules changed')
  }
}

/** What every write is held to. */
export class Watch {
  granted = 0
  readonly #world: World
  /** Uids of objects that were approved at some time. */
  readonly #approved = new Set<string>()

  constructor(world: World) {
    this.#world = world
  }

  /** Call after every change of the world. */
  look(): void {
    for (const { metadata, status } of this.#world.live.objects.values())
      if (JSON.stringify(status).includes('"state":"approved"')) this.#approved.add(metadata.uid ?? '')
  }

  onWrite(write: Write): void {
    const { live, request } = this.#world
    const { effect, before } = write
    this.look()
    if (isFinal(before.status)) must(['delete-grants', 'delete-request', 'remove-finalizer'].includes(effect.type), `a final request got ${effect.type}`)
    if (effect.type === 'apply-grant') {
      this.granted += 1
      checkGrant(effect.grant, write)
      for (const policy of before.status?.policies ?? []) {
        for (const { name } of policy.policySpec.checkGrantedPermission?.spec.checks ?? [])
          must(
            (policy.matchedChecks ?? []).some((matched) => matched.name === name && this.#approved.has(matched.ref.uid)),
            `check ${name} was never approved by anybody`,
          )
      }
    }
    if (effect.type === 'write-status') {
      checkSnapshot(before.status, effect.status)
      this.#passesHonestly(write, effect.status)
    }
    const names = new Set([...live.roles.keys(), ...live.bindings.keys()].filter((name) => name !== STRAY))
    if (names.size > 0) {
      must(request !== undefined, 'a grant outlived its request')
      must(isRecordedAsPassed(request?.status), 'a grant exists, and the status does not say that everything has passed')
    }
  }

  /** Everything that was found at the moment of passing had passed. */
  #passesHonestly({ before, facts }: Write, status: AccessRequestStatus): void {
    if (conditionStatus(status, 'AccessCheckReady') !== 'True' || conditionStatus(before.status, 'AccessCheckReady') === 'True') return
    must(facts.confirmed && facts.flags.state === 'on', 'the checks passed from facts that are not confirmed')
    must(isRecordedAsPassed(status), 'the status says that everything has passed, and its entries do not')
    for (const policy of status.policies ?? []) {
      for (const check of policy.checks ?? []) {
        const recorded = before.status?.policies?.find(({ name }) => name === policy.name)?.checks?.find(({ name }) => name === check.name)
        must(JSON.stringify(recorded) === JSON.stringify(check), 'a check passed that nothing was read for')
        const fact = facts.checks(policy.name, check.name)
        must(!('unreadable' in fact), 'a check passed that could not be read')
        if (!('unreadable' in fact))
          for (const { status: own } of fact.objects)
            must(JSON.stringify(own).includes('"state":"approved"'), 'a check passed with an object that is not approved')
      }
    }
  }
}

const isOn = (flags: ConfigMap | undefined): boolean => Object.values(flags?.data ?? { none: '' }).every((value) => value === 'true')

/** What holds once everything has come to rest. */
export const checkRest = (world: World): void => {
  const { live, request } = world
  const names = [...live.roles.keys(), ...live.bindings.keys()]
  if (request === undefined)
    return must(
      names.every((name) => name === STRAY),
      'a grant outlived its request',
    )
  const { pod, connector } = live
  const over = pod === undefined || pod.status?.phase === 'Succeeded' || (boundUid(request) !== undefined && pod.metadata.uid !== boundUid(request))
  must(!names.includes(STRAY), 'something that is no grant of ours remained')
  if (over) must(names.length === 0, 'a grant outlived its Pod')
  if (connector === undefined || connector.metadata.deletionTimestamp !== undefined || connector.metadata.uid !== request.status?.connectorUID)
    must(names.length === 0, 'a grant outlived its Connector')
  if (isFinal(request.status)) must(names.length === 0, 'a final request has grants')
  if (names.length > 0) {
    for (const { ref } of request.status?.policies?.flatMap(({ matchedChecks }) => matchedChecks ?? []) ?? []) {
      const object = live.objects.get(`${ref.kind}/${ref.name}`)
      const isRejected = object?.metadata.uid === ref.uid && JSON.stringify(object.status).includes('"state":"rejected"')
      must(!isRejected || live.unreadable.has(ref.kind), 'a grant outlived a rejection')
    }
  }
  if (world.grantsFail) return
  const mayRepair = pod?.metadata.deletionTimestamp === undefined && isOn(live.configMaps.get(FLAGS_CONFIG_MAP))
  if (names.length > 0 && mayRepair) {
    must(
      [...live.roles.values()].every(({ rules }) => rules.every(({ resourceNames }) => resourceNames?.join() === 'prod-harbor')),
      'a widened Role remained',
    )
    must(
      [...live.bindings.values()].every(({ subjects }) => subjects?.length === 1),
      'a widened RoleBinding remained',
    )
    must(live.roles.size === live.bindings.size, 'half of a grant remained')
  }
  let writes = 0
  const previous = world.onWrite
  world.onWrite = () => void (writes += 1)
  const { request: before } = world
  const notices = world.notices.length
  world.reconcile()
  must(writes === 0 && world.request === before && world.notices.length === notices, 'it was not at rest')
  world.onWrite = previous
}
