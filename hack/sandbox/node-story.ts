/** The story of two Pods on a node: one waits at its mount, is approved and reads its files; one is rejected and is told so. */
import { join } from 'node:path'
import { ROOT } from '../project.ts'
import { EXAMPLES, answeredByAlice, canUse, giveInput, noGrant, setState, untilGrantIsGone } from './approval-steps.ts'
import { playSteps, type Stage, type Step } from './stage.ts'

const APPROVED = { pod: 'build-on-node', task: 'deploy-prod', manifest: join(ROOT, 'hack/sandbox/node-pod.yaml') }
const REJECTED = { pod: 'build-rejected', task: 'deploy-prod-43', manifest: join(ROOT, 'hack/sandbox/rejected-pod.yaml') }

const FOLDER = '/connectors/harbor'
const FILES = ['.curlrc', '.env', 'ca.cert', 'ca.crt', 'connector.status.proxyAddress', 'context.proxy.caCert', 'context.token', 'http.proxy', 'https.proxy']

interface SeenFile {
  path: string
  text?: string
}

/** What the container says of its files, a JSON value each; the last time, if it said them again. */
const seenFiles = (output: string): SeenFile[] =>
  (output.split('--\n').at(-1) ?? '').split('\n').flatMap((line): SeenFile[] => (line.startsWith('{') ? [JSON.parse(line)] : []))

const names = (output: string): string => {
  const files = seenFiles(output)
  return files.length === 0 ? output : files.map(({ path }) => path).join('\n')
}

const namesAndText = (output: string): string => {
  const files = seenFiles(output)
  return files.length === 0 ? output : files.map(({ path, text = '' }) => `${path}\n${text}`).join('\n')
}

const apply = (title: string, manifest: string): Step => ({ title, args: ['apply', '-f', manifest], expect: { says: ['created'] } })

const waits = (pod: string, title: string): Step => ({
  title,
  args: ['get', 'pod', pod, '-n', 'cicd'],
  expect: { says: ['ContainerCreating'] },
  within: 60_000,
})

const event = (pod: string, title: string, says: string[]): Step => ({
  title,
  args: ['get', 'events', '-n', 'cicd', '--field-selector', `involvedObject.name=${pod}`, '-o', 'custom-columns=REASON:.reason,MESSAGE:.message'],
  expect: { says },
  within: 60_000,
})

const untilPhase = (pod: string, title: string, phase: string): Step => ({
  title,
  args: ['wait', `pod/${pod}`, '-n', 'cicd', `--for=jsonpath={.status.phase}=${phase}`, '--timeout=90s'],
  expect: { says: ['condition met'] },
})

const approved = ({ pod, task, manifest }: typeof APPROVED): Step[] => [
  { title: 'The approval step of that run is over and cleaned up: with it goes what it approved', args: ['delete', 'approvaltask', task, '-n', 'cicd'], expect: { says: ['deleted'] } },
  apply('On a node with kubelet and the CSI plugin: a Pod that mounts the Connector', manifest),
  waits(pod, 'Its container is not started'),
  event(pod, 'and its Event says that the mount waits', ['AccessWaiting', 'connectors-shared/prod-harbor']),
  apply('The approval step of the pipeline begins', `${EXAMPLES}/approval-task.yaml`),
  { title: 'It is pending, says the approval controller', args: setState(task, 'pending'), expect: { says: ['patched'] } },
  event(pod, 'Now the Event says for what', [`waiting for ApprovalTask cicd/${task}`]),
  { title: 'Alice approves', args: giveInput(task, 'approve', 'alice'), expect: { says: ['patched'] } },
  { title: 'and the approval controller has counted it', args: setState(task, 'approved', answeredByAlice('approved')), expect: { says: ['patched'] } },
  untilPhase(pod, 'The container runs', 'Running'),
  {
    title: 'and sees its files (shown here: their names)',
    args: ['logs', pod, '-n', 'cicd'],
    expect: { exactly: FILES.map((name) => `${FOLDER}/${name}`).join('\n') },
    within: 60_000,
    digest: names,
  },
  {
    title: 'It reads the address of the proxy (the token in it is not shown here)',
    args: ['exec', pod, '-n', 'cicd', '--', '/workload', 'cat', '-message=', `${FOLDER}/http.proxy`],
    expect: { says: ['http://connectors-shared%2Fprod-harbor:eyJ', '@c-prod-harbor.connectors-shared.svc.cluster.local'] },
  },
  canUse(pod, 'The ServiceAccount may use the Connector, from this Pod', 'yes'),
  { title: 'The Pod ends', args: ['delete', 'pod', pod, '-n', 'cicd', '--wait=true', '--timeout=90s'], expect: { says: ['deleted'] } },
  untilGrantIsGone(pod, 'The grant goes with it'),
  noGrant('Neither Role nor RoleBinding is left'),
]

const rejected = ({ pod, task, manifest }: typeof REJECTED): Step[] => [
  apply('A Pod of another run, and the approval step of that', manifest),
  { title: 'It is pending, says the approval controller', args: setState(task, 'pending'), expect: { says: ['patched'] } },
  event(pod, 'The Pod waits for that step', [`waiting for ApprovalTask cicd/${task}`]),
  { title: 'Alice rejects', args: giveInput(task, 'reject', 'alice'), expect: { says: ['patched'] } },
  { title: 'and the approval controller has counted it', args: setState(task, 'rejected', answeredByAlice('rejected')), expect: { says: ['patched'] } },
  untilPhase(pod, 'The container runs all the same, so that its log can say why', 'Succeeded'),
  {
    title: 'It saw .error.json alone',
    args: ['logs', pod, '-n', 'cicd'],
    expect: { says: [`${FOLDER}/.error.json`, 'AccessRejected'], saysNot: FILES },
    within: 60_000,
    digest: namesAndText,
  },
  event(pod, 'The Event says it too', ['AccessRefused', 'was rejected']),
  canUse(pod, 'The ServiceAccount may not use the Connector', 'no'),
  noGrant('and no Role was made'),
]

/** Follows the story of the gated Pod. @returns the titles of the steps that came out otherwise */
export const playNodeStory = async (stage: Stage): Promise<string[]> => playSteps(stage, [...approved(APPROVED), ...rejected(REJECTED)])
