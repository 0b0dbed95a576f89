/** What the people and the approval controller of a story do, and what is asked about it in each. */
import { join } from 'node:path'
import { ROOT } from '../project.ts'
import { APPROVAL_CONTROLLER } from './approval-project.ts'
import type { Step } from './stage.ts'

export const EXAMPLES = join(ROOT, 'docs/examples')

const patchTask = (task: string, patch: object): string[] => ['patch', 'approvaltask', task, '-n', 'cicd', '--type=merge', '-p', JSON.stringify(patch)]

export const setStateAsAdministrator = (task: string, state: string, more: object = {}): string[] => [
  ...patchTask(task, { status: { state, ...more } }), '--subresource=status',
]

/** The sandbox runs no approval controller: the story writes what it would write, as its account. */
export const setState = (task: string, state: string, more?: object): string[] => [...setStateAsAdministrator(task, state, more), `--as=${APPROVAL_CONTROLLER}`]

/** What the approval controller notes of Alice's answer. */
export const answeredByAlice = (response: 'approved' | 'rejected'): object => ({ approversResponse: [{ name: 'alice', type: 'User', response }] })

export const giveInput = (task: string, input: 'approve' | 'reject', user: string): string[] => [
  ...patchTask(task, { spec: { approvers: [{ name: 'alice', type: 'User', input }] } }), `--as=${user}`,
]

/** Where the permission of this one Pod is. */
export const podPath = (pod: string): string => `proxy/v1/pod/cicd/${pod}`

export const canUse = (pod: string, title: string, answer: 'yes' | 'no'): Step => ({
  title,
  args: ['auth', 'can-i', '*', 'connectors.connectors.alauda.io/prod-harbor', `--subresource=${podPath(pod)}`, '-n', 'connectors-shared', '--as=system:serviceaccount:cicd:builder'],
  expect: { fails: answer === 'no', says: [answer] },
  within: 60_000,
})

/** Selects the requests of a Pod. */
export const requestsOf = (pod: string): string => `connectors.cpaas.io/contextObjectName=${pod}`

export const untilGrantIsGone = (pod: string, title: string): Step => ({
  title,
  args: ['wait', '-n', 'connectors-shared', 'accessrequest', '-l', requestsOf(pod), '--for=jsonpath={.status.conditions[?(@.type=="AccessPermissionSync")].reason}=PermissionCleanUp', '--timeout=90s'],
  expect: { says: ['condition met'] },
})

export const noGrant = (title: string): Step => ({
  title,
  args: ['get', 'roles,rolebindings', '-n', 'connectors-shared', '-l', 'connectors.alauda.io/accessRequest', '-o', 'name'],
  expect: { saysNot: ['role'] },
})
