/** The story of one gated Pod: what is refused, what waits, what is granted, and that it is gone in the end. */
import { IMMUTABLE_MESSAGE, foreignNamespaceMessage } from '../../src/core/request-rules.ts'
import type { ClusterAccess } from '../control-plane/cluster-access.ts'
import { APPROVAL_INPUTS, APPROVAL_STATUS } from '../generate/approval-policies.ts'
import { EXAMPLES, answeredByAlice, canUse, giveInput, noGrant, podPath, requestsOf, setState, setStateAsAdministrator, untilGrantIsGone } from './approval-steps.ts'
import { playSteps, type Stage, type Step } from './stage.ts'

const POD = 'build-pod-7x9k2'
const TASK = 'deploy-prod'
const MADE = requestsOf(POD)
const SYNC_REASON = '{.items[*].status.conditions[?(@.type=="AccessPermissionSync")].reason}'

/** A request of the Pod hook carries the Pod's uid; the one of the example does not. */
const hookRequest = async (cluster: Pick<ClusterAccess, 'kubectl'>): Promise<string> => {
  const { stdout } = await cluster.kubectl([
    'get', 'accessrequests', '-n', 'connectors-shared', '-l', MADE,
    '-o', 'jsonpath={range .items[?(@.spec.context.objectRef.uid)]}{.metadata.name}{"\\n"}{end}',
  ])
  return stdout.trim().split('\n')[0] ?? ''
}

const APPROVED = setState(TASK, 'approved', answeredByAlice('approved'))

const before = (): Step[] => [
  { title: 'A request for a shared Connector, as a person may write it', args: ['apply', '-f', `${EXAMPLES}/access-request.yaml`], expect: { says: ['created'] } },
  {
    title: 'Its spec never changes',
    args: ['patch', 'accessrequest', 'prod-harbor-build-pod-7x9k2', '-n', 'connectors-shared', '--type=merge', '-p', '{"spec":{"subject":{"name":"somebody-else"}}}'],
    expect: { fails: true, says: [IMMUTABLE_MESSAGE] },
  },
  {
    title: 'It reaches no Connector of another namespace',
    args: ['apply', '-f', `${EXAMPLES}/foreign-connector.yaml`],
    expect: { fails: true, says: [`spec.connectorRef.namespace: ${foreignNamespaceMessage('connectors-shared', 'other')}`] },
  },
  canUse(POD, 'Before anything was approved, the ServiceAccount may not use the Connector', 'no'),
  { title: 'A Pod that mounts the Connector is admitted', args: ['apply', '-f', `${EXAMPLES}/pod.yaml`], expect: { says: ['created'] } },
  {
    title: 'and its request was made at that moment, with its uid',
    args: ['get', 'accessrequests', '-n', 'connectors-shared', '-o', 'wide'],
    expect: { says: ['prod-harbor-build-pod-7x9k2-'] },
  },
]

const approval = (request: string): Step[] => [
  {
    title: 'It waits, and says for what',
    args: ['wait', '-n', 'connectors-shared', `accessrequest/${request}`, '--for=jsonpath={.status.conditions[?(@.type=="AccessCheckReady")].reason}=Pending', '--timeout=90s'],
    expect: { says: ['condition met'] },
  },
  { title: 'The approval step of the pipeline begins', args: ['apply', '-f', `${EXAMPLES}/approval-task.yaml`], expect: { says: ['created'] } },
  { title: 'It is pending, says the approval controller', args: setState(TASK, 'pending'), expect: { says: ['patched'] } },
  {
    title: 'The request waits for this very task',
    args: ['wait', '-n', 'connectors-shared', `accessrequest/${request}`, '--for=jsonpath={.status.conditions[?(@.type=="AccessCheckReady")].message}=waiting for ApprovalTask cicd/deploy-prod', '--timeout=90s'],
    expect: { says: ['condition met'] },
  },
  canUse(POD, 'Pending is not approved', 'no'),
  {
    title: 'Nobody but the approval controller says that it is approved, not even an administrator',
    args: setStateAsAdministrator(TASK, 'approved', answeredByAlice('approved')),
    expect: { fails: true, says: [APPROVAL_STATUS.name] },
  },
  { title: 'Nor does Bob approve in the name of Alice', args: giveInput(TASK, 'approve', 'bob'), expect: { fails: true, says: [APPROVAL_INPUTS.name] } },
  { title: 'Alice approves', args: giveInput(TASK, 'approve', 'alice'), expect: { says: ['patched'] } },
  canUse(POD, 'That alone is not enough', 'no'),
  { title: 'until the approval controller has counted it', args: APPROVED, expect: { says: ['patched'] } },
  { title: 'The request is granted', args: ['wait', '-n', 'connectors-shared', `accessrequest/${request}`, '--for=condition=Ready', '--timeout=90s'], expect: { says: ['condition met'] } },
  {
    title: 'by a Role and a RoleBinding for this one Pod',
    args: ['get', 'roles,rolebindings', '-n', 'connectors-shared', '-l', `connectors.alauda.io/accessRequest`, '-o', 'custom-columns=KIND:.kind,RESOURCES:.rules[*].resources,NAMES:.rules[*].resourceNames,SUBJECT:.subjects[*].name'],
    expect: { says: [`connectors/${podPath(POD)}`, 'RoleBinding', 'builder'] },
  },
  canUse(POD, 'Now the ServiceAccount may use the Connector, from this Pod', 'yes'),
]

const end = (): Step[] => [
  { title: 'The Pod is deleted', args: ['delete', 'pod', POD, '-n', 'cicd', '--wait=true', '--timeout=90s'], expect: { says: ['deleted'] } },
  untilGrantIsGone(POD, 'The grant goes with it'),
  noGrant('Neither Role nor RoleBinding is left'),
  canUse(POD, 'The ServiceAccount may not use the Connector any more', 'no'),
  { title: 'The task is opened once more by the approval controller', args: setState(TASK, 'pending', { approversResponse: null }), expect: { says: ['patched'], saysNot: ['no change'] } },
  { title: 'and approved once more', args: APPROVED, expect: { says: ['patched'], saysNot: ['no change'] } },
  { title: 'A finished request stays finished all the same', args: ['get', 'accessrequests', '-n', 'connectors-shared', '-l', MADE, '-o', `jsonpath=${SYNC_REASON}`], expect: { says: ['PermissionCleanUp'], saysNot: ['Synced'] } },
  {
    title: 'What happened can be read',
    args: ['get', 'events', '-n', 'connectors-shared', '-o', 'custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message'],
    expect: { says: ['AccessGranted', 'approved by alice', 'AccessRevoked'] },
  },
]

/** @returns the titles of the steps that came out otherwise */
export const playStory = async (stage: Stage): Promise<string[]> => [
  ...(await playSteps(stage, before())),
  ...(await playSteps(stage, approval(await hookRequest(stage.cluster)))),
  ...(await playSteps(stage, end())),
]
