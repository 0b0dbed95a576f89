/** One look at everything that a mount depends on. */
import type { Connector } from '../api/connector.ts'
import { podProblem, type Mount } from '../core/mount-call.ts'
import { decideMount, type GateFacts, type GateVerdict } from '../core/mount-gate.ts'
import { PODS } from '../kube/resources.ts'
import type { FlagsWatch } from './flags-watch.ts'
import { gatherFacts, listAllRequests, listRequests, type GateFactDeps } from './gate-facts.ts'
import type { RequestWatch } from './request-watch.ts'

/** What was seen. Flags that are unknown are waited for, but not for long. */
export type Look = { seen: 'unknown flags'; message: string } | { seen: 'verdict'; verdict: GateVerdict; connectors: Connector[] }

export interface LookDeps extends GateFactDeps {
  flags: FlagsWatch
  nodeName: string
}

const seenOf = (facts: GateFacts): Look => ({ seen: 'verdict', verdict: decideMount(facts), connectors: facts.connectors.flatMap(({ found }) => found ?? []) })

/**
 * Everything is read from the API server itself, but for the flags, which a watch keeps, and the requests where one is given.
 * @param watch undefined: the requests are read now as well
 * @throws CodedError KUBE_* when something could not be read
 */
export const look = async (deps: LookDeps, mount: Mount, watch?: Pick<RequestWatch, 'requests'>): Promise<Look> => {
  const { reader, flags, nodeName } = deps
  const failure = podProblem(mount, await reader.get(PODS, mount.pod.namespace, mount.pod.name), nodeName)
  if (failure !== undefined) return { seen: 'verdict', verdict: { verdict: 'fail', failure }, connectors: [] }
  const now = flags.now()
  if (now.flags.state === 'unknown') return { seen: 'unknown flags', message: now.flags.message }
  const known = watch?.requests()
  const facts = await gatherFacts(deps, mount, now, known === undefined ? listRequests(reader, mount) : Promise.resolve(known))
  const verdict = decideMount(facts)
  // Who takes the labels off a predecessor's request hides it: a yes that no request explains counts only after a look at all of them.
  if (verdict.verdict === 'mount' && verdict.byHand) return seenOf(await gatherFacts(deps, mount, now, listAllRequests(reader, mount)))
  return seenOf(facts)
}
