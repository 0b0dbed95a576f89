import type { AdmissionRequest } from '../src/api/admission-review.ts'
import { GROUP } from '../src/api/names.ts'
import type { Answer } from './answer.ts'
import type { HookResource } from './review.ts'

/** One route of the webhook server: decode is done, the answer is still data. */
export interface Hook {
  path: `/${string}`
  /** In metrics and log lines. */
  name: string
  resource: HookResource
  /** What it throws becomes a 500 with a correlation id, never a yes. */
  answer(request: AdmissionRequest): Answer | Promise<Answer>
}

export const REQUEST_RESOURCE: HookResource = { group: GROUP, resource: 'accessrequests' }
export const POLICY_RESOURCE: HookResource = { group: GROUP, resource: 'accesspolicies' }
export const POD_RESOURCE: HookResource = { group: '', resource: 'pods' }
