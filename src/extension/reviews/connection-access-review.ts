/** ConnectionAccessReview: may this user connect to that Workspace? Asked and answered, with no effect. */
import type { Logger } from 'pino'
import {
  CONNECTION_ACCESS_REVIEW,
  CONNECTION_GROUP,
  CONNECTION_VERSION,
  ConnectionAccessReviewSpecSchema,
  ConnectionAccessReviewStatusSchema,
  type ConnectionAccessReviewSpec,
  type ConnectionAccessReviewStatus,
} from '../../api/connection-review.ts'
import type { FieldProblem, ReviewKind } from '../review-kind.ts'
import type { CheckConnection } from './connection-check.ts'
import { reading } from './read-failure.ts'
import { extraProblems, groupsProblems, invalidValue, isMissing, nameProblems, textProblems } from './spec-problems.ts'

type Spec = ConnectionAccessReviewSpec

const subjectProblems = ({ user, groups = [] }: Spec): FieldProblem[] =>
  isMissing(user) && groups.length === 0 ? [invalidValue('spec.user', '', 'at least one of user or group must be specified')] : []

const problems = (spec: Spec): FieldProblem[] => [
  ...nameProblems('spec.workspaceName', spec.workspaceName),
  ...subjectProblems(spec),
  ...textProblems('spec.user', spec.user),
  ...groupsProblems('spec.groups', spec.groups ?? []),
  ...textProblems('spec.uid', spec.uid),
  ...extraProblems('spec.extra', spec.extra ?? {}),
]

export interface ConnectionAccessReviewDeps {
  check: CheckConnection
  logger: Logger
}

export const connectionAccessReview = ({ check, logger }: ConnectionAccessReviewDeps): ReviewKind<Spec, ConnectionAccessReviewStatus> => ({
  group: CONNECTION_GROUP,
  version: CONNECTION_VERSION,
  ...CONNECTION_ACCESS_REVIEW,
  description: 'ConnectionAccessReview asks whether a user may connect to a Workspace, without connecting. It is answered at once and never stored.',
  specSchema: ConnectionAccessReviewSpecSchema,
  statusSchema: ConnectionAccessReviewStatusSchema,
  problems,
  // Also where null was sent, or nothing.
  echo: (spec) => ({ ...spec, groups: spec.groups ?? [] }),
  review: async ({ namespace, spec }) => {
    const { workspaceName, user = '', groups = [], uid, extra } = spec
    const object = `${namespace}/${workspaceName}`
    const subject = { user, groups, ...(isMissing(uid) ? {} : { uid }), ...(extra === undefined ? {} : { extra }) }
    const checked = await reading(logger, { review: CONNECTION_ACCESS_REVIEW.kind, object }, 'Failed to verify access permission', () => check(namespace, workspaceName, subject))
    if (!checked.ok) return checked
    const { outcome, status } = checked.value
    return { ok: true, status, verdict: outcome, object, ...(user === '' ? {} : { subject: user }) }
  },
})
