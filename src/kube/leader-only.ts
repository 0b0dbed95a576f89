/** A writer that sends nothing unless this replica leads. */
import { CodedError } from '../errors.ts'
import type { LeaderLease } from './lease.ts'
import type { Writer } from './ports.ts'

/** @throws (from every call) CodedError NOT_LEADER, before anything is sent */
export const leaderOnly = (writer: Writer, lease: Pick<LeaderLease, 'held'>): Writer => {
  const mustHold = (): void => {
    if (!lease.held()) throw new CodedError('NOT_LEADER', 'this replica does not hold the lease; nothing was sent')
  }
  return {
    create: async (resource, object) => {
      mustHold()
      return writer.create(resource, object)
    },
    replace: async (resource, object) => {
      mustHold()
      return writer.replace(resource, object)
    },
    replaceStatus: async (resource, object) => {
      mustHold()
      return writer.replaceStatus(resource, object)
    },
    mergePatch: async (resource, namespace, name, patch) => {
      mustHold()
      return writer.mergePatch(resource, namespace, name, patch)
    },
    remove: async (resource, namespace, name, precondition) => {
      mustHold()
      return writer.remove(resource, namespace, name, precondition)
    },
  }
}
