/** Whether a caller may do what he asks for: the API server's authorizers say it, and it is remembered for a moment. */
import type { AccessQuestion, PathQuestion } from '../api/access-review.ts'
import { createRecentMap } from '../core/recent-map.ts'
import type { PathPermission, Permission } from '../kube/ports.ts'
import type { Timers } from '../kube/timers.ts'
import { questionKey } from './question-key.ts'
import type { Caller } from './review-kind.ts'

export type CallerQuestion = AccessQuestion | PathQuestion

/** @throws CodedError KUBE_* when there is no answer, which is none to go on with */
export type Authorize = (caller: Caller, question: CallerQuestion) => boolean | Promise<boolean>

export interface AuthorizationOptions {
  /** How long an answer is remembered, milliseconds. Default 10,000. */
  keepMs?: number
  /** How many are. Default 1,000. */
  capacity?: number
}

const MASTERS = 'system:masters'
const keyOf = ({ user, uid, groups, extra }: Caller, question: CallerQuestion): string => questionKey(user, uid ?? null, groups, extra, question)

export const createAuthorization = (
  { permission, timers }: { permission: Permission & PathPermission; timers: Timers },
  { keepMs = 10_000, capacity = 1_000 }: AuthorizationOptions = {},
): Authorize => {
  const answers = createRecentMap<{ allowed: boolean; until: number }>(capacity)
  const asked = new Map<string, Promise<boolean>>()

  const remember = (key: string, allowed: boolean): void => answers.set(key, { allowed, until: timers.monotonic() + keepMs })

  const ask = async (key: string, { user, uid, groups, extra }: Caller, question: CallerQuestion): Promise<boolean> => {
    const identity = { user, groups, extra, ...(uid === undefined ? {} : { uid }) }
    try {
      const allowed = await ('path' in question ? permission.allowsPath(identity, question) : permission.allows(identity, question))
      remember(key, allowed)
      return allowed
    } finally {
      asked.delete(key)
    }
  }

  return (caller, question) => {
    if (caller.groups.includes(MASTERS)) return true
    const key = keyOf(caller, question)
    const known = answers.get(key)
    if (known !== undefined && timers.monotonic() < known.until) return known.allowed
    const underWay = asked.get(key)
    if (underWay !== undefined) return underWay
    const answer = ask(key, caller, question)
    asked.set(key, answer)
    return answer
  }
}
