/** A writer that sends nothing unless this replica leads, and waits for no answer for longer than it surely does. */
import { CodedError } from '../errors.ts'
import type { LeaderLease } from './lease.ts'
import type { WriteOptions, Writer } from './ports.ts'

/**
 * What is under way when the lease runs out is given up with its connection, so that it does not land long after another replica
 * began. The API server may do it all the same. A change names the version that it was decided on and fails when that is old. A creation
 * or a deletion may land late: the next leader's watch shows it what is there then, and it puts that right.
 * @throws (from every call) CodedError NOT_LEADER, before anything is sent
 */
export const leaderOnly = (writer: Writer, lease: Pick<LeaderLease, 'leftMs'>): Writer => {
  const bounded = ({ timeoutMs = Number.POSITIVE_INFINITY }: WriteOptions = {}): WriteOptions => {
    const leftMs = Math.floor(lease.leftMs())
    if (leftMs <= 0) throw new CodedError('NOT_LEADER', 'this replica does not hold the lease; nothing was sent')
    return { timeoutMs: Math.min(timeoutMs, leftMs) }
  }
  return {
    create: async (resource, object, options) => writer.create(resource, object, bounded(options)),
    replace: async (resource, object, options) => writer.replace(resource, object, bounded(options)),
    replaceStatus: async (resource, object, options) => writer.replaceStatus(resource, object, bounded(options)),
    mergePatch: async (resource, namespace, name, patch, options) => writer.mergePatch(resource, namespace, name, patch, bounded(options)),
    remove: async (resource, namespace, name, precondition, options) => writer.remove(resource, namespace, name, precondition, bounded(options)),
  }
}
