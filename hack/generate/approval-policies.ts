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

const labelsOf = (object: string): string => `(${object} != null && has(${object}.metadata) && has(${object}.metadata.labels) ? ${object}.metadata.labels : {})`

/** Null stands for none, as with the approval controller. */
const specOf = (object: string, field: string, none: string): string =>
  `(${object} != null && has(${object}.spec) && has(${object}.spec.${field}) && ${object}.spec.${field} != null ? ${object}.spec.${field} : ${none})`

/** Far more than people can be asked, and little enough that the API server never gives up on the cost of an expression. */
const MOST_APPROVERS = 100
const MOST_USERS = 100

const isText = (entry: string, field: string): string => `(!has(${entry}.${field}) || type(${entry}.${field}) == string)`
const isNamed = (entry: string): string => `type(${entry}) == map && has(${entry}.name) && type(${entry}.name) == string && ${isText(entry, 'input')}`

/** Whether the expressions below can be asked without an error: of each it would be a refusal that nobody understands. */
const isUnderstood = (approvers: string): string =>
  [
    `type(${approvers}) == list && size(${approvers}) <= ${MOST_APPROVERS}`,
    `${approvers}.all(a, ${isNamed('a')} && ${isText('a', 'type')} && (!has(a.users) || a.users == null || `,
  ].join(' && ') + `(type(a.users) == list && size(a.users) <= ${MOST_USERS} && a.users.all(u, ${isNamed('u')}))))`

const isGiven = (entry: string): string => `has(${entry}.input) && !(${entry}.input in ['', 'pending'])`

const IS_GROUP = "has(a.type) && a.type == 'Group'"

/** Within a group: an entry of the caller, who is a member. */
const IS_OWN = `u.name == request.userInfo.username && ${IS_GROUP} && a.name in request.userInfo.groups`

/** Who is asked, in order: the approval controller and its command line never change that. No type means a user. */
const whoIsAsked = (approvers: string): string => `${approvers}.map(a, (has(a.type) && a.type != '' ? a.type : 'User') + ':' + a.name)`

/** The inputs that are not the caller's to give: of people, and of groups that the caller is no member of. */
const ofOthers = (approvers: string): string =>
  `${approvers}.filter(a, ${isGiven('a')} && !(${IS_GROUP} ? a.name in request.userInfo.groups : a.name == request.userInfo.username)).map(a, (${IS_GROUP} ? 'group:' : '') + a.name + '=' + a.input)`

/** The same for the people who are listed within a group; listing somebody makes nobody a member. */
const withinGroups = (approvers: string): string =>
  [
    `${approvers}.filter(a, has(a.users) && a.users != null)`,
    `.map(a, [a.name] + a.users.filter(u, ${isGiven('u')} && !(${IS_OWN})).map(u, u.name + '=' + u.input))`,
    '.filter(entry, size(entry) > 1)',
  ].join('')

/** Groups that do not say reject although somebody else in them does: the approval controller hears a rejection by the input of the group alone. */
const overruled = (approvers: string): string =>
  `${approvers}.filter(a, ${IS_GROUP} && !(has(a.input) && a.input == 'reject') && has(a.users) && a.users != null && a.users.exists(u, has(u.input) && u.input == 'reject' && !(${IS_OWN})))`

const NUMBER = 'numberOfApprovalsRequired'
const HAD_STATE = "(has(oldObject.status) && has(oldObject.status.state) && oldObject.status.state != '')"

export const APPROVAL_INPUTS: Guard = {
  name: 'access-gate-approval-inputs',
  group: GROUP,
  resources: ['approvaltasks'],
  operations: ['CREATE', 'UPDATE'],
  matchCondition: {
    name: 'created-or-spec-or-status-or-labels-changed',
    expression: `${CREATED_OR_SPEC_CHANGED.expression} || ${statusOf('object')} != ${statusOf('oldObject')} || ${labelsOf('object')} != ${labelsOf('oldObject')}`,
  },
  variables: [
    { name: 'approversNow', expression: specOf('object', 'approvers', '[]') },
    { name: 'approversBefore', expression: specOf('oldObject', 'approvers', '[]') },
    { name: 'understood', expression: `${isUnderstood('variables.approversNow')} && ${isUnderstood('variables.approversBefore')}` },
    { name: 'now', expression: 'variables.understood ? variables.approversNow : []' },
    { name: 'before', expression: 'variables.understood ? variables.approversBefore : []' },
    { name: 'askedNow', expression: whoIsAsked('variables.now') },
    { name: 'askedBefore', expression: whoIsAsked('variables.before') },
    { name: 'numberNow', expression: specOf('object', NUMBER, '0') },
    { name: 'numberBefore', expression: specOf('oldObject', NUMBER, '0') },
    { name: 'othersNow', expression: ofOthers('variables.now') },
    { name: 'othersBefore', expression: ofOthers('variables.before') },
    { name: 'withinGroupsNow', expression: withinGroups('variables.now') },
    { name: 'withinGroupsBefore', expression: withinGroups('variables.before') },
    { name: 'overruledNow', expression: overruled('variables.now') },
    { name: 'overruledBefore', expression: overruled('variables.before') },
  ],
  validations: [
    {
      expression: `${statusOf('object')} == ${statusOf('oldObject')}`,
      message: 'status: is written through the status subresource alone; the definition of ApprovalTasks must have one',
      reason: 'Forbidden',
    },
    {
      expression: `request.operation == 'CREATE' || !${HAD_STATE} || ${labelsOf('object')} == ${labelsOf('oldObject')}`,
      message: 'metadata.labels: say what is approved, and do not change once the task has a state; make another task instead',
      reason: 'Forbidden',
    },
    {
      expression: 'variables.understood',
      message: `spec.approvers: must be a list of at most ${MOST_APPROVERS} approvers, each with a name and at most ${MOST_USERS} users who have one; name, type and input are texts. Where the stored task is not so, make another one`,
      reason: 'Invalid',
    },
    {
      expression: 'variables.othersNow == variables.othersBefore && variables.withinGroupsNow == variables.withinGroupsBefore',
      message: 'spec.approvers: an input is given and changed by the user whom it names alone, and that of a group by its members alone',
      reason: 'Forbidden',
    },
    {
      expression: "request.operation == 'CREATE' || variables.askedNow == variables.askedBefore",
      message: 'spec.approvers: who is asked does not change, nor the order; make another task instead',
      reason: 'Forbidden',
    },
    {
      expression: "request.operation == 'CREATE' || variables.numberNow == variables.numberBefore",
      message: `spec.${NUMBER}: does not change; make another task instead`,
      reason: 'Forbidden',
    },
    {
      expression: 'variables.overruledNow.all(a, a in variables.overruledBefore)',
      message: 'spec.approvers: the input of a group stays "reject" as long as one of its users rejects; he alone takes that back',
      reason: 'Forbidden',
    },
  ],
}
