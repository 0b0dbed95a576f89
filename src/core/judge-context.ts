import { REASON } from '../api/access-request.ts'
import { finding } from './conditions.ts'
import { podMismatch } from './pod-context.ts'
import { cleanUp, connectorText, mayHaveGrants, podText, record, type Pass } from './request-pass.ts'
import { parseTime } from './time.ts'

/** How long a request waits for a Pod of its uid that was never seen, in milliseconds: it is stored before its Pod. */
export const UNSEEN_POD_GRACE_MS = 60_000
/** How long nothing is written of it that the Pod of a new request is not there, in milliseconds: mostly it is stored an instant later. */
export const UNSEEN_POD_SILENCE_MS = 2_000
/** How often a Pod is asked for that no watch tells about, in milliseconds. */
export const UNWATCHED_POD_POLL_MS = 4_000
/** How often a request without uid looks for the first Pod of its name, in milliseconds; a gated Pod is told by the watch at once. */
export const ABSENT_POD_POLL_MS = 30_000

/** Waits for the Pod of a uid that was never seen; it may have been refused by someone else after the request was made. */
const awaitUnseenPod = (pass: Pass): void => {
  const { request, now, findings } = pass
  const created = parseTime(request.metadata.creationTimestamp) ?? now
  const left = created + UNSEEN_POD_GRACE_MS - now
  const silent = created + UNSEEN_POD_SILENCE_MS - now
  if (silent > 0 && silent <= UNSEEN_POD_SILENCE_MS && request.status === undefined) return pass.effects.requeueAfter(silent)
  if (left > 0) {
    findings.ContextObjectValid = finding('Unknown', REASON.pending, `${podText(request)} with uid ${request.spec.context.objectRef.uid ?? ''} is not there yet`)
    record(pass)
    pass.effects.requeueAfter(Math.min(left, UNWATCHED_POD_POLL_MS))
    return
  }
  pass.effects.event('Warning', 'PodNeverSeen', 'Delete', `${podText(request)} with uid ${request.spec.context.objectRef.uid ?? ''} never came; the request is deleted`)
  pass.effects.deleteRequest()
}

/** @returns whether the Pod is there and the one that may be granted something; otherwise the pass is over */
export const judgePod = (pass: Pass): boolean => {
  const { facts, request, findings } = pass
  const { pod } = facts
  const seen = request.status?.contextUID !== undefined
  const end = (reason: string, why: string): false => {
    findings.ContextObjectValid = finding('False', reason, why)
    cleanUp(pass, why)
    return false
  }
  switch (pod.state) {
    case 'finished':
      pass.contextUID = pod.pod.metadata.uid
      return end(REASON.completed, `${podText(request)} has finished (${pod.pod.status?.phase ?? ''})`)
    case 'missing':
      if (seen) return end(REASON.notFound, `${podText(request)} is gone`)
      break
    case 'replaced':
      if (seen) return end(REASON.replaced, `${podText(request)} was replaced by another of the same name (uid ${pod.uid})`)
      break
    case 'live': {
      pass.contextUID = pod.pod.metadata.uid
      const mismatch = podMismatch(request, pod.pod)
      if (mismatch === undefined) {
        const leaving = pod.pod.metadata.deletionTimestamp !== undefined
        findings.ContextObjectValid = finding('True', REASON.active, `${podText(request)} is ${leaving ? 'terminating' : 'active'}`)
        return true
      }
      if (mayHaveGrants(pass)) return end(REASON.notFound, mismatch)
      findings.ContextObjectValid = finding('False', REASON.notFound, mismatch)
      record(pass)
      return false
    }
    default:
      return pod satisfies never
  }
  if (request.spec.context.objectRef.uid !== undefined) {
    awaitUnseenPod(pass)
    return false
  }
  findings.ContextObjectValid = finding('False', REASON.notFound, `there is no live ${podText(request)} yet`)
  record(pass)
  pass.effects.requeueAfter(ABSENT_POD_POLL_MS)
  return false
}

const forget = (pass: Pass): void => {
  pass.policies = []
  pass.connectorUID = undefined
  const waiting = finding('Unknown', REASON.pending, 'not looked at yet')
  pass.findings.AccessPolicyMatched = waiting
  pass.findings.AccessCheckReady = waiting
  pass.findings.AccessPermissionSync = waiting
}

/** @returns whether the Connector that the request is for is there; otherwise the pass is over */
export const judgeConnector = (pass: Pass): boolean => {
  const { facts, request, findings, effects } = pass
  const { connector } = facts
  const replaced = connector !== undefined && pass.connectorUID !== undefined && connector.metadata.uid !== pass.connectorUID
  if (connector !== undefined && !replaced) {
    findings.ConnectorResolved = finding('True', REASON.resolved, `${connectorText(request)} is there`)
    return true
  }
  if (mayHaveGrants(pass)) {
    const why = replaced ? `${connectorText(request)} was replaced by another of the same name` : `${connectorText(request)} is gone`
    findings.ConnectorResolved = finding('False', REASON.notFound, why)
    cleanUp(pass, why)
    return false
  }
  // Nothing was granted: what was matched for a Connector that is gone says nothing of its successor. That is a step
  // of its own, since the facts at hand were gathered for what is on record.
  if (replaced && !facts.confirmed) {
    effects.confirm()
    return false
  }
  if (replaced) {
    forget(pass)
    findings.ConnectorResolved = finding('True', REASON.resolved, `${connectorText(request)} is there`)
  } else findings.ConnectorResolved = finding('False', REASON.notFound, `${connectorText(request)} does not exist`)
  record(pass)
  return false
}
