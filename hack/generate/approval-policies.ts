/**
 * The guards of ApprovalTasks. Their project's stock RBAC lets every authenticated user write tasks and their status, and its webhook
 * is not asked about the status; so whoever could write either could approve himself.
 */
import { serviceAccountUser } from '../../src/api/names.ts'
import { CREATED_OR_SPEC_CHANGED, type Guard } from './admission-policies.ts'

const GROUP = 'openshift-pipelines.org'

/** The account of a stock installation on Kubernetes. */
const STOCK_CONTROLLER = serviceAccountUser('tekton-pipelines', 'manual-approval-gate-controller')

/**
 * Who is the approval controller is a variable of the policy itself and no `paramKind`: the API server stops following a ConfigMap for
 * good once no binding names it for a second (as in a removal and a new installation), and would go on with the users of that moment.
 */
export const APPROVAL_STATUS: Guard = {
  name: 'access-gate-approval-status',
  group: GROUP,
  resources: ['approvaltasks/status'],
  operations: ['UPDATE'],
  installedOnce: true,
  variables: [{ name: 'writers', expression: `['${STOCK_CONTROLLER}']` }],
  validations: [
    {
      expression: 'request.userInfo.username in variables.writers',
      // Said only if the expression below fails.
      message: 'status: is written by the approval controller alone',
      messageExpression: [
        `'status: is written by the approval controller alone, and "' + request.userInfo.username + '" is not it; it is '`,
        `(size(variables.writers) == 0 ? 'nobody' : variables.writers.join(', '))`,
        `' by the variable "writers" of this policy. Approve by your own input in spec.approvers instead'`,
      ].join(' + '),
      reason: 'Forbidden',
    },
  ],
}

const statusOf = (object: string): string => `(${object} != null && has(${object}.status) ? ${object}.status : {})`

const approversOf = (object: string): string =>
  `(${object} != null && has(${object}.spec) && has(${object}.spec.approvers) && ${object}.spec.approvers != null ? ${object}.spec.approvers : [])`

const isGiven = (entry: string): string => `has(${entry}.input) && !(${entry}.input in ['', 'pending'])`

const IS_GROUP = "has(a.type) && a.type == 'Group'"

/** The inputs that are not the caller's to give: of people, and of groups that the caller is no member of. */
const ofOthers = (approvers: string): string =>
  `${approvers}.filter(a, ${isGiven('a')} && !(${IS_GROUP} ? a.name in request.userInfo.groups : a.name == request.userInfo.username)).map(a, (${IS_GROUP} ? 'group:' : '') + a.name + '=' + a.input)`

/** The same for the people who are listed within a group; listing somebody makes nobody a member. */
const withinGroups = (approvers: string): string =>
  [
    `${approvers}.filter(a, has(a.users) && a.users != null)`,
    `.map(a, [a.name] + a.users.filter(u, ${isGiven('u')} && !(u.name == request.userInfo.username && ${IS_GROUP} && a.name in request.userInfo.groups)).map(u, u.name + '=' + u.input))`,
    '.filter(entry, size(entry) > 1)',
  ].join('')

export const APPROVAL_INPUTS: Guard = {
  name: 'access-gate-approval-inputs',
  group: GROUP,
  resources: ['approvaltasks'],
  operations: ['CREATE', 'UPDATE'],
  matchCondition: {
    name: 'created-or-spec-or-status-changed',
    expression: `${CREATED_OR_SPEC_CHANGED.expression} || ${statusOf('object')} != ${statusOf('oldObject')}`,
  },
  variables: [
    { name: 'now', expression: approversOf('object') },
    { name: 'before', expression: approversOf('oldObject') },
    { name: 'othersNow', expression: ofOthers('variables.now') },
    { name: 'othersBefore', expression: ofOthers('variables.before') },
    { name: 'withinGroupsNow', expression: withinGroups('variables.now') },
    { name: 'withinGroupsBefore', expression: withinGroups('variables.before') },
  ],
  validations: [
    {
      expression: `${statusOf('object')} == ${statusOf('oldObject')}`,
      message: 'status: is written through the status subresource alone; the definition of ApprovalTasks must have one',
      reason: 'Forbidden',
    },
    {
      expression: 'variables.othersNow == variables.othersBefore && variables.withinGroupsNow == variables.withinGroupsBefore',
      message: 'spec.approvers: an input is given and changed by the user whom it names alone, and that of a group by its members alone',
      reason: 'Forbidden',
    },
  ],
}
