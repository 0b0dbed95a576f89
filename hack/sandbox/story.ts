/** The story of one gated Pod: what is refused, what waits, what is granted, and that it is gone in the end. */
import { setTimeout as delay } from 'node:timers/promises'
import { IMMUTABLE_MESSAGE, foreignNamespaceMessage } from '../../src/core/request-rules.ts'
import type { ClusterAccess, KubectlResult } from '../control-plane/cluster-access.ts'
import { APPROVAL_INPUTS, APPROVAL_STATUS } from '../generate/approval-policies.ts'
import { APPROVAL_CONTROLLER } from './approval-project.ts'

export interface Stage {
  cluster: ClusterAccess
  /** Folder of the example objects. */
  examples: string
  print: (line: string) => void
  signal: AbortSignal
}

interface Step {
  title: string
  args: string[]
  /** What must come out: words in the output, and whether kubectl is to fail. */
  expect: { fails?: boolean; says?: string[]; saysNot?: string[] }
  /** The answer follows from a change that every part of the cluster learns of in its own time: ask again for so many milliseconds. */
  within?: number
}

const POD_PATH = 'proxy/v1/pod/cicd/build-pod-7x9k2'
const MADE = 'connectors.cpaas.io/contextObjectName=build-pod-7x9k2'
const SYNC_REASON = '{.items[*].status.conditions[?(@.type=="AccessPermissionSync")].reason}'

const canUse = (title: string, answer: 'yes' | 'no'): Step => ({
  title,
  args: ['auth', 'can-i', '*', 'connectors.connectors.alauda.io/prod-harbor', `--subresource=${POD_PATH}`, '-n', 'connectors-shared', '--as=system:serviceaccount:cicd:builder'],
  expect: { fails: answer === 'no', says: [answer] },
  within: 5_000,
})

/** A request of the Pod hook carries the Pod's uid; the one of the example does not. */
const hookRequest = async (cluster: ClusterAccess): Promise<string> => {
  const { stdout } = await cluster.kubectl([
    'get', 'accessrequests', '-n', 'connectors-shared', '-l', MADE,
    '-o', 'jsonpath={range .items[?(@.spec.context.objectRef.uid)]}{.metadata.name}{"\\n"}{end}',
  ])
  return stdout.trim().split('\n')[0] ?? ''
}

const setStateAsAdministrator = (state: string, more: object = {}): string[] => [
  'patch', 'approvaltask', 'deploy-prod', '-n', 'cicd', '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { state, ...more } }),
]

/** The sandbox runs no approval controller: the story writes what it would write, as its account. */
const setState = (state: string, more?: object): string[] => [...setStateAsAdministrator(state, more), `--as=${APPROVAL_CONTROLLER}`]

const RESPONSE = { approversResponse: [{ name: 'alice', type: 'User', response: 'approved' }] }
const APPROVED = setState('approved', RESPONSE)

const giveInput = (user: string): string[] => [
  'patch', 'approvaltask', 'deploy-prod', '-n', 'cicd', '--type=merge', '-p', JSON.stringify({ spec: { approvers: [{ name: 'alice', type: 'User', input: 'approve' }] } }), `--as=${user}`,
]

const before = (examples: string): Step[] => [
  { title: 'A request for a shared Connector, as a person may write it', args: ['apply', '-f', `${examples}/access-request.yaml`], expect: { says: ['created'] } },
  {
    title: 'Its spec never changes',
    args: ['patch', 'accessrequest', 'prod-harbor-build-pod-7x9k2', '-n', 'connectors-shared', '--type=merge', '-p', '{"spec":{"subject":{"name":"somebody-else"}}}'],
    expect: { fails: true, says: [IMMUTABLE_MESSAGE] },
  },
  {
    title: 'It reaches no Connector of another namespace',
    args: ['apply', '-f', `${examples}/foreign-connector.yaml`],
    expect: { fails: true, says: [`spec.connectorRef.namespace: ${foreignNamespaceMessage('connectors-shared', 'other')}`] },
  },
  canUse('Before anything was approved, the ServiceAccount may not use the Connector', 'no'),
  { title: 'A Pod that mounts the Connector is admitted', args: ['apply', '-f', `${examples}/pod.yaml`], expect: { says: ['created'] } },
  {
    title: 'and its request was made at that moment, with its uid',
    args: ['get', 'accessrequests', '-n', 'connectors-shared', '-o', 'wide'],
    expect: { says: ['prod-harbor-build-pod-7x9k2-'] },
  },
]

const approval = (examples: string, request: string): Step[] => [
  {
    title: 'It waits, and says for what',
    args: ['wait', '-n', 'connectors-shared', `accessrequest/${request}`, '--for=jsonpath={.status.conditions[?(@.type=="AccessCheckReady")].reason}=Pending', '--timeout=20s'],
    expect: { says: ['condition met'] },
  },
  { title: 'The approval step of the pipeline begins', args: ['apply', '-f', `${examples}/approval-task.yaml`], expect: { says: ['created'] } },
  { title: 'It is pending, says the approval controller', args: setState('pending'), expect: { says: ['patched'] } },
  {
    title: 'The request waits for this very task',
    args: ['wait', '-n', 'connectors-shared', `accessrequest/${request}`, '--for=jsonpath={.status.conditions[?(@.type=="AccessCheckReady")].message}=waiting for ApprovalTask cicd/deploy-prod', '--timeout=20s'],
    expect: { says: ['condition met'] },
  },
  canUse('Pending is not approved', 'no'),
  {
    title: 'Nobody but the approval controller says that it is approved, not even an administrator',
    args: setStateAsAdministrator('approved', RESPONSE),
    expect: { fails: true, says: [APPROVAL_STATUS.name] },
  },
  { title: 'Nor does Bob approve in the name of Alice', args: giveInput('bob'), expect: { fails: true, says: [APPROVAL_INPUTS.name] } },
  { title: 'Alice approves', args: giveInput('alice'), expect: { says: ['patched'] } },
  canUse('That alone is not enough', 'no'),
  { title: 'until the approval controller has counted it', args: APPROVED, expect: { says: ['patched'] } },
  { title: 'The request is granted', args: ['wait', '-n', 'connectors-shared', `accessrequest/${request}`, '--for=condition=Ready', '--timeout=20s'], expect: { says: ['condition met'] } },
  {
    title: 'by a Role and a RoleBinding for this one Pod',
    args: ['get', 'roles,rolebindings', '-n', 'connectors-shared', '-l', `connectors.alauda.io/accessRequest`, '-o', 'custom-columns=KIND:.kind,RESOURCES:.rules[*].resources,NAMES:.rules[*].resourceNames,SUBJECT:.subjects[*].name'],
    expect: { says: [`connectors/${POD_PATH}`, 'RoleBinding', 'builder'] },
  },
  canUse('Now the ServiceAccount may use the Connector, from this Pod', 'yes'),
]

const end = (): Step[] => [
  { title: 'The Pod is deleted', args: ['delete', 'pod', 'build-pod-7x9k2', '-n', 'cicd', '--wait=true', '--timeout=30s'], expect: { says: ['deleted'] } },
  {
    title: 'The grant goes with it',
    args: ['wait', '-n', 'connectors-shared', 'accessrequest', '-l', MADE, '--for=jsonpath={.status.conditions[?(@.type=="AccessPermissionSync")].reason}=PermissionCleanUp', '--timeout=20s'],
    expect: { says: ['condition met'] },
  },
  {
    title: 'Neither Role nor RoleBinding is left',
    args: ['get', 'roles,rolebindings', '-n', 'connectors-shared', '-l', 'connectors.alauda.io/accessRequest', '-o', 'name'],
    expect: { saysNot: ['role'] },
  },
  canUse('The ServiceAccount may not use the Connector any more', 'no'),
  { title: 'The task is opened once more by the approval controller', args: setState('pending', { approversResponse: null }), expect: { says: ['patched'], saysNot: ['no change'] } },
  { title: 'and approved once more', args: APPROVED, expect: { says: ['patched'], saysNot: ['no change'] } },
  { title: 'A finished request stays finished all the same', args: ['get', 'accessrequests', '-n', 'connectors-shared', '-l', MADE, '-o', `jsonpath=${SYNC_REASON}`], expect: { says: ['PermissionCleanUp'], saysNot: ['Synced'] } },
  {
    title: 'What happened can be read',
    args: ['get', 'events', '-n', 'connectors-shared', '-o', 'custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message'],
    expect: { says: ['AccessGranted', 'approved by alice', 'AccessRevoked'] },
  },
]

const problemOf = ({ expect: { fails = false, says = [], saysNot = [] } }: Step, { code, stdout, stderr }: KubectlResult): string | undefined => {
  const output = `${stdout}${stderr}`
  if (fails !== (code !== 0)) return fails ? 'it was to be refused, and was not' : `it failed with ${code}`
  const missing = says.find((words) => !output.includes(words))
  if (missing !== undefined) return `it does not say ${JSON.stringify(missing)}`
  const unwanted = saysNot.find((words) => output.includes(words))
  return unwanted === undefined ? undefined : `it says ${JSON.stringify(unwanted)}`
}

const shown = (argument: string): string => (/^[\w./:=@,-]+$/.test(argument) ? argument : `'${argument}'`)

const play = async ({ cluster, examples, print, signal }: Stage, step: Step): Promise<string | undefined> => {
  signal.throwIfAborted()
  print(`\n# ${step.title}`)
  print(`$ kubectl ${step.args.map((argument) => shown(argument.replace(examples, 'docs/examples'))).join(' ')}`)
  const until = Date.now() + (step.within ?? 0)
  let result = await cluster.kubectl(step.args, { allowFailure: true, signal })
  while (problemOf(step, result) !== undefined && Date.now() < until) {
    await delay(100, undefined, { signal })
    result = await cluster.kubectl(step.args, { allowFailure: true, signal })
  }
  const output = `${result.stdout}${result.stderr}`.trimEnd()
  if (output !== '') print(output)
  const problem = problemOf(step, result)
  print(problem === undefined ? '=> as told' : `=> NOT as told: ${problem}`)
  return problem === undefined ? undefined : step.title
}

/** Plays all steps, also after one that failed. @returns the titles of those that came out otherwise */
export const playStory = async (stage: Stage): Promise<string[]> => {
  const failed: string[] = []
  const act = async (steps: readonly Step[]): Promise<void> => {
    for (const step of steps) {
      const title = await play(stage, step)
      if (title !== undefined) failed.push(title)
    }
  }
  await act(before(stage.examples))
  await act(approval(stage.examples, await hookRequest(stage.cluster)))
  await act(end())
  return failed
}
