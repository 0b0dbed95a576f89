/** What happens when a Pod with our volume is created: gather, decide in core, create the requests. Never a refusal, never a delay beyond its time. */
import type { Logger } from 'pino'
import type { AccessRequest } from '../src/api/access-request.ts'
import type { GatedVolumes } from '../src/core/gated-volume.ts'
import { decideAtAdmission, type ConnectorFact } from '../src/core/gate.ts'
import { isForIdentity, type ConnectorKey, type PodKey } from '../src/core/request-identity.ts'
import { isCoded } from '../src/errors.ts'
import type { Clock, Permission, Reader, Writer } from '../src/kube/ports.ts'
import { ACCESS_REQUESTS } from '../src/kube/resources.ts'
import type { Timers } from '../src/kube/timers.ts'
import { withDeadline, type Deadline } from '../src/serving/deadline.ts'
import type { HookMetrics } from './metrics.ts'
import { connectorFact, readFlagsNow, type PodFactDeps } from './pod-facts.ts'
import { createRecentAnswers } from './recent-answers.ts'
import type { RequestCap } from './request-cap.ts'
import type { Turns } from '../src/serving/turns.ts'

export interface PodAdmissionDeps {
  reader: Reader
  writer: Writer
  permission: Permission
  cap: RequestCap
  /** How many Pods are looked at at once. */
  turns: Turns
  logger: Logger
  clock: Clock
  timers: Timers
  metrics: HookMetrics
  /** Milliseconds for everything; less than the timeoutSeconds of the hook. */
  deadlineMs: number
}

/** A Pod that is being created, name and uid final. */
export interface NewPod {
  pod: PodKey
  volumes: GatedVolumes
  serviceAccount: string
  /** The user who creates it. */
  requestedBy: string
  /** Decide everything, create nothing. */
  dryRun: boolean
}

export interface PodAdmission {
  /** @returns warnings for the user; never rejects */
  admit(asked: NewPod): Promise<string[]>
}

const HOOK = 'validate-pod'
const none = (): number => 0
const AT_THE_MOUNT = 'the request will be made at the mount'

/** What is known of each Connector, and those that could not be looked at: one of them is no reason to leave the others out. */
const connectorFacts = async (deps: PodFactDeps, { pod, volumes, serviceAccount }: NewPod): Promise<{ known: ConnectorFact[]; unknown: ConnectorKey[] }> => {
  const known: ConnectorFact[] = []
  const unknown: ConnectorKey[] = []
  const results = await Promise.allSettled(volumes.connectors.map((connector) => connectorFact(deps, connector, pod, serviceAccount)))
  for (const [index, connector] of volumes.connectors.entries()) {
    const result = results[index]
    if (result?.status === 'fulfilled') known.push(result.value)
    else {
      unknown.push(connector)
      deps.unread(`Connector ${connector.namespace}/${connector.name} or the permission for it`, result?.reason)
    }
  }
  return { known, unknown }
}

export const createPodAdmission = (deps: PodAdmissionDeps): PodAdmission => {
  const { reader, writer, cap, turns, logger, timers, metrics, deadlineMs } = deps
  const recent = createRecentAnswers(timers)
  let crowdTold = false

  const failed = (reason: 'error' | 'late', pod: PodKey, what: string, error: unknown): void => {
    metrics.failed(HOOK, reason)
    logger.warn({ hook: HOOK, pod, err: error }, `${what}; ${AT_THE_MOUNT}`)
  }

  /** What has the name may be somebody else's: only a request for this very Pod, Connector and ServiceAccount is reused. */
  const isThere = async ({ metadata, spec }: AccessRequest, { pod, serviceAccount }: NewPod): Promise<boolean> => {
    const { namespace = '', name } = metadata
    try {
      const found = await reader.get(ACCESS_REQUESTS, namespace, name)
      return found !== undefined && isForIdentity(found, { connector: { namespace, name: spec.connectorRef.name }, pod, serviceAccount })
    } catch (error) {
      logger.warn({ hook: HOOK, pod, err: error }, 'the access request that exists already could not be read')
      return false
    }
  }

  /** @returns a warning when the request is not there now */
  const create = async (request: AccessRequest, asked: NewPod): Promise<string | undefined> => {
    const { pod, requestedBy } = asked
    const { namespace = '', name } = request.metadata
    const connector = `${namespace}/${request.spec.connectorRef.name}`
    const said = { accessRequest: `${namespace}/${name}`, connector, pod, requestedBy }
    try {
      await writer.create(ACCESS_REQUESTS, request)
      metrics.requestMade('created')
      logger.info(said, 'access request made')
      return undefined
    } catch (error) {
      if (isCoded(error, 'KUBE_CONFLICT') && (await isThere(request, asked))) {
        metrics.requestMade('reused')
        logger.info(said, 'access request exists already')
        return undefined
      }
      failed('error', pod, `the access request ${namespace}/${name} could not be made`, error)
      return `the access request for Connector ${connector} could not be made now; ${AT_THE_MOUNT}`
    }
  }

  const work = async (asked: NewPod, deadline: Deadline): Promise<string[]> => {
    const { pod, volumes, serviceAccount, requestedBy, dryRun } = asked
    const unread = (what: string, error: unknown): void => failed('error', pod, `${what} could not be read`, error)
    const facts = { ...deps, recent, unread }
    const [flags, { known, unknown }, unseen] = await Promise.all([
      readFlagsNow(facts),
      connectorFacts(facts, asked),
      volumes.connectors.length === 0 ? none : cap.unseen(pod.namespace),
    ])
    const decision = decideAtAdmission({ flags, pod, serviceAccount, requestedBy, connectors: known, problems: volumes.problems, unseenRequests: unseen() })
    const warnings = [
      ...decision.warnings,
      ...unknown.map(({ namespace, name }) => `Connector ${namespace}/${name} could not be looked at now; ${AT_THE_MOUNT}`),
    ]
    if (dryRun || deadline.passed) return warnings
    for (const _ of decision.create) cap.count(pod.namespace)
    const refused = await Promise.all(decision.create.map((request) => create(request, asked)))
    return [...warnings, ...refused.filter((warning) => warning !== undefined)]
  }

  /** Told once for each crowd: as many lines as Pods would be one more burden. */
  const crowded = ({ pod, volumes }: NewPod): string[] => {
    const what = 'too many Pods that mount Connectors are being created at once'
    metrics.failed(HOOK, 'crowded')
    if (!crowdTold) logger.warn({ hook: HOOK, pod }, `${what}; ${AT_THE_MOUNT}, for others as well`)
    crowdTold = true
    return [...volumes.problems, `${what}; ${AT_THE_MOUNT}`]
  }

  /** Whose turn comes too late was answered already. */
  const begin = async (asked: NewPod, deadline: Deadline): Promise<string[]> => (deadline.passed ? [] : work(asked, deadline))

  const admit = async (asked: NewPod): Promise<string[]> => {
    const { pod, volumes } = asked
    if (!turns.hasRoom) return crowded(asked)
    if (turns.isCalm) crowdTold = false
    const giveUp = (reason: 'error' | 'late', what: string, error?: unknown): string[] => {
      failed(reason, pod, what, error)
      return [...volumes.problems, `${what}; ${AT_THE_MOUNT}`]
    }
    try {
      const abandoned = (error: unknown): void => failed('late', pod, 'work on a Pod that was admitted meanwhile failed', error)
      const outcome = await withDeadline(timers, deadlineMs, (deadline) => turns.run(() => begin(asked, deadline)), abandoned)
      if (outcome.state === 'done') return outcome.value
      return giveUp('late', `the access requests of this Pod could not be made within ${deadlineMs} ms`)
    } catch (error) {
      return giveUp('error', 'the access requests of this Pod could not be made', error)
    }
  }

  return { admit }
}
