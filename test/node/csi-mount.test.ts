/** What a Pod finds in its volume, by a real kubelet: approved, rejected, with several Connectors, with a group, made by a Job. */
import { readFile } from 'node:fs/promises'
import { t as file, test } from 'tap'
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import { FLAG, GROUP, PROXY_AUDIENCE, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { BUILTIN_FILES } from '../../src/core/builtin-files.ts'
import { renderFiles } from '../../src/core/mount-files.ts'
import { readVolumeAttributes } from '../../src/core/volume-attributes.ts'
import { CONNECTORS } from '../../src/kube/resources.ts'
import { announceTests, report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { BUILDER, checkedPolicy, gatedVolume, taskCheck } from '../support/gated-world.ts'
import { readPod, terminated } from '../support/node-pods.ts'
import { nodeWorld, type MadePod, type SeenFile } from '../support/node-world.ts'
import { untilReads } from '../support/request-reading.ts'

announceTests(file)
const self = await nodeWorld(file)
const { world, cluster, node, plugin } = self
const { shared, work, kube } = world

const BUILTIN = BUILTIN_FILES.toSorted()
const PASSWORD = 'correct horse battery staple'
await self.connector('harbor')

const textOf = (files: ReadonlyMap<string, SeenFile>, name: string): string => files.get(name)?.text ?? ''

interface TokenReview {
  status: { authenticated?: boolean; audiences?: string[]; user?: { username: string; extra?: Record<string, string[]> } }
}

const review = async (token: string, audience: string): Promise<TokenReview['status']> => {
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: [audience] } }
  const { status }: TokenReview = JSON.parse(readAnswer(await cluster.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', body), 'TokenReview'))
  return status
}

/** What core promises for this Pod and token. */
const promised = async ({ metadata: { namespace, name, uid } }: MadePod, connectors: readonly string[], token: string): Promise<Record<string, string>> => {
  const reading = readVolumeAttributes({ connectors: connectors.map((connector) => `${shared}/${connector}`).join(',') }, namespace)
  if (!reading.ok) throw new Error(reading.problems.join('; '))
  const found = (await Promise.all(connectors.map((connector) => kube.get(CONNECTORS, shared, connector)))).flatMap((connector) => connector ?? [])
  const rendered = renderFiles({ mount: { attributes: reading.attributes, pod: { namespace, name, uid } }, connectors: found, classes: new Map(), token })
  if (!rendered.ok) throw new Error(rendered.failure.message)
  return Object.fromEntries(rendered.files)
}

await test('a Pod waits in ContainerCreating and says for what; approved, its container reads its files', async (t) => {
  await cluster.kubectl(['create', 'secret', 'generic', 'harbor-robot', '-n', shared, `--from-literal=password=${PASSWORD}`])
  await kube.mergePatch(CONNECTORS, shared, 'harbor', { spec: { auth: { name: 'basicAuth', secretRef: { name: 'harbor-robot' } } } })
  const pod = await self.pod('first', ['harbor'])
  const { name } = pod.metadata
  await world.task(name, 'pending')
  const request = await world.requestOf(pod)
  const event = await self.untilEvent(pod, 'AccessWaiting', /waiting for ApprovalTask/)
  t.equal(event.message, `volume "connectors": Connector ${shared}/harbor, AccessRequest ${shared}/${request.metadata.name}: waiting for ApprovalTask ${work}/${name}`)
  await untilTrue('kubelet says that the container is being created', async () => (await readPod(cluster, pod.metadata))?.status.containerStatuses?.[0]?.state.waiting?.reason === 'ContainerCreating')
  t.equal(await self.phase(pod), 'Pending')
  t.equal(await self.onDisk(pod), undefined, 'nothing is there before the approval')
  t.equal(await plugin.metric('access_gate_waiting_mounts'), 1)

  const approvedAt = performance.now()
  await world.setState(name, 'approved')
  await self.untilPhase(pod, 'Running')
  const took = performance.now() - approvedAt
  const files = await self.untilWhole(pod)
  t.strictSame([...files.keys()].toSorted(), BUILTIN)
  const token = textOf(files, 'context.token')
  t.strictSame(Object.fromEntries([...files].map(([path, { text }]) => [path, text])), await promised(pod, ['harbor'], token))
  const proxy = `http://${shared}%2Fharbor:${token}@c-harbor.${shared}.svc.cluster.local`
  t.equal(textOf(files, 'http.proxy'), proxy)
  t.equal(textOf(files, '.env'), `http_proxy=${proxy}\nhttps_proxy=${proxy}\nno_proxy=localhost,127.0.0.1\n`)
  t.strictSame(new Set([...files.values()].map(({ mode, uid, gid }) => `${mode} ${uid} ${gid}`)), new Set(['0444 0 0']))

  const { authenticated, audiences, user } = await review(token, PROXY_AUDIENCE)
  t.strictSame({ authenticated, audiences, username: user?.username }, { authenticated: true, audiences: [PROXY_AUDIENCE], username: serviceAccountUser(work, BUILDER) })
  t.match(user?.extra, { 'authentication.kubernetes.io/pod-name': [name], 'authentication.kubernetes.io/pod-uid': [pod.metadata.uid] })
  t.not((await review(token, 'https://kubernetes.default.svc')).authenticated, true, 'the token is good for the proxy alone')

  const all = [...files.values()].map(({ text }) => text).join('\n')
  for (const secret of [PASSWORD, Buffer.from(PASSWORD).toString('base64'), encodeURIComponent(PASSWORD), 'harbor-robot']) t.notMatch(all, secret, 'no file holds anything of the Secret')
  const log = await node.logs('csi')
  t.notOk(log.includes(token) || JSON.stringify(await self.events(pod)).includes(token), 'the token is in no log and no Event')

  const told = await self.events(pod)
  t.equal(told.filter(({ reason }) => reason === 'AccessMounted').length, 1)
  // Of its own volumes kubelet may tell that it has not read what is in them yet.
  t.strictSame(told.filter(({ reason, message }) => reason === 'FailedMount' && /"connectors"|unmounted volumes=\[[^\]]*\bconnectors\b/.test(message)), [], 'kubelet saw no failure')
  report(t, { files: files.size, 'approval to running': seconds(took), 'events of the Pod': told.length, 'calls of kubelet that failed': await plugin.metric('access_gate_publishes_total', { outcome: 'failed' }) })
})

await test('the plugin runs with the one capability that its DaemonSet gives it, and its account may read no Secret and make no token', async (t) => {
  const status = await readFile(`/proc/${await plugin.pid()}/status`, 'utf8')
  const lines = Object.fromEntries([...status.matchAll(/^(Cap\w+|NoNewPrivs):\s+(\w+)$/gm)].map(([, key, value]) => [key, value]))
  t.match(lines, { CapPrm: '0000000000000001', CapEff: '0000000000000001', CapBnd: '0000000000000001', NoNewPrivs: '1' })
  const as = `--as=${serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi)}`
  const asked = [['get', 'secrets'], ['create', 'serviceaccounts/token'], ['delete', 'pods'], ['update', 'accessrequests/status'], ['create', 'roles']]
  const answers = await Promise.all(asked.map((question) => cluster.kubectl(['auth', 'can-i', ...question, '-A', as], { allowFailure: true })))
  t.strictSame(answers.map(({ stdout }) => stdout.trim()), asked.map(() => 'no'))
})

await test('rejected, the container starts and sees .error.json alone', async (t) => {
  const pod = await self.pod('second', ['harbor'], { args: ['list', '-text', '/connectors'] })
  const { name } = pod.metadata
  await world.task(name, 'pending')
  await self.untilEvent(pod, 'AccessWaiting', 'waiting for ApprovalTask')
  const request = await world.requestOf(pod)
  const rejectedAt = performance.now()
  await world.setState(name, 'rejected')
  const message = terminated(await self.untilPhase(pod, 'Succeeded'))?.message ?? ''
  const took = performance.now() - rejectedAt
  const lines: (SeenFile & { path: string })[] = message.trimEnd().split('\n').map((line) => JSON.parse(line))
  t.strictSame(lines.map(({ path, mode, uid, gid }) => ({ path, mode, uid, gid })), [{ path: '/connectors/.error.json', mode: '0444', uid: 0, gid: 0 }])
  const accessRequest = `${shared}/${request.metadata.name}`
  t.match(JSON.parse(lines[0]?.text ?? ''), {
    code: 7,
    message: new RegExp(`^access to Connector ${shared}/harbor was rejected: .*ApprovalTask ${work}/${name}`),
    details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'AccessRejected', domain: GROUP, metadata: { connector: `${shared}/harbor`, accessRequest } }],
  })
  t.match(await self.untilEvent(pod, 'AccessRefused', 'rejected'), {})
  t.notOk(await world.mayUse(name, 'harbor'))
  report(t, { files: lines.length, 'rejection to end of the container': seconds(took) })
})

await test('several Connectors in one volume take the flag, and the approval of each', async (t) => {
  await self.connector('one', checkedPolicy(['one'], [taskCheck('approval', 'approve-one')]))
  await self.connector('two', checkedPolicy(['two'], [taskCheck('approval', 'approve-two')]))
  await world.task('approve-one', 'pending')
  await world.task('approve-two', 'pending')
  const pod = await self.pod('both', ['one', 'two'])
  const refused = await self.untilEvent(pod, 'MountFailed', FLAG.multiConnector)
  t.equal(refused.message, `volume "connectors": volume "connectors" names 2 Connectors; name one, or set ${FLAG.multiConnector}: "true" in ConfigMap connectors-system/connectors-config`)
  t.equal(await self.onDisk(pod), undefined)
  await self.flag(FLAG.multiConnector, 'true')
  const waits = await self.untilEvent(pod, 'AccessWaiting', /approve-one.*approve-two/)
  t.match(waits.message, new RegExp(`Connector ${shared}/one, .*; Connector ${shared}/two, `))
  await world.setState('approve-one', 'approved')
  const left = await self.untilEvent(pod, 'AccessWaiting', /^(?!.*approve-one).*approve-two/)
  t.notMatch(left.message, `Connector ${shared}/one`)
  t.equal(await self.phase(pod), 'Pending', 'one of two is not enough')
  t.equal(await self.onDisk(pod), undefined)
  await world.setState('approve-two', 'approved')
  await self.untilPhase(pod, 'Running')
  const files = await self.untilWhole(pod)
  const token = textOf(files, 'context.token')
  t.strictSame(Object.fromEntries([...files].map(([path, { text }]) => [path, text])), await promised(pod, ['one', 'two'], token))
  t.equal(textOf(files, 'http.proxy'), `http://${shared}%2Fone,${shared}%2Ftwo:${token}@c-two.${shared}.svc.cluster.local`)
  report(t, { Connectors: 2, requests: (await world.requestsOf({ metadata: pod.metadata })).length, files: files.size })
})

/** One of several volumes, each in a folder of its own. */
const isFile = (path: string): boolean => path.includes('/')

await test('volumes of one Pod wait at once, and two of one Connector for the same request', async (t) => {
  const volumes = [gatedVolume({ connectors: `${shared}/harbor` }, 'left'), gatedVolume({ connectors: `${shared}/harbor` }, 'right'), gatedVolume({ connectors: `${shared}/one` }, 'other')]
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/connectors/${name}` }))
  const containers = [{ name: 'main', image: node.image, imagePullPolicy: 'Never', args: ['watch', '/connectors'], volumeMounts }]
  const pod = await self.pod('three', [], { spec: { volumes, containers } })
  await untilTrue('those of harbor wait', async () => (await plugin.metric('access_gate_waiting_mounts')) === 2)
  t.equal((await world.requestsOf(pod)).length, 2)
  await world.task('three', 'approved')
  await self.untilPhase(pod, 'Running')
  const wanted = ['left', 'other', 'right'].flatMap((volume) => BUILTIN.map((name) => `${volume}/${name}`))
  const seen = await self.untilFiles(pod, 'all files of all volumes', (files) => [...files.keys()].filter(isFile).length >= wanted.length)
  t.strictSame([...seen.keys()].filter(isFile), wanted)
  report(t, { volumes: volumes.length, requests: (await world.requestsOf(pod)).length, files: wanted.length })
})

await test('a Pod that is not root reads its files by its fsGroup, and others cannot', async (t) => {
  await world.task('grouped', 'approved')
  const securityContext = { fsGroup: 4711, runAsUser: 1000, runAsGroup: 1000, runAsNonRoot: true }
  const pod = await self.pod('grouped', ['harbor'], { spec: { securityContext } })
  await self.untilPhase(pod, 'Running')
  const files = await self.untilWhole(pod)
  t.strictSame([...files.keys()].toSorted(), BUILTIN)
  t.strictSame(new Set([...files.values()].map(({ mode, uid, gid }) => `${mode} ${uid} ${gid}`)), new Set(['0440 0 4711']))
  t.strictSame(Object.fromEntries([...files].map(([name, { text }]) => [name, text])), await promised(pod, ['harbor'], textOf(files, 'context.token')))
  report(t, { files: files.size, 'readable by its group': [...files.values()].filter(({ text }) => text !== '').length })
})

await test('Pods that a Job would make, with names of the API server, are approved one by one', async (t) => {
  const jobSpec = { suspend: true, template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: node.image }] } } }
  const answer = await cluster.call('POST', `/apis/batch/v1/namespaces/${work}/jobs`, { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'nightly' }, spec: jobSpec })
  const job: { metadata: { uid: string } } = JSON.parse(readAnswer(answer, 'Job'))
  const owner = { apiVersion: 'batch/v1', kind: 'Job', name: 'nightly', uid: job.metadata.uid, controller: true, blockOwnerDeletion: true }
  const make = (run: string): Promise<MadePod> => self.pod(run, ['harbor'], { run, generateName: 'nightly-', ownerReferences: [owner], args: ['list', '-text', '/connectors'] })
  const pods = await Promise.all(['night-1', 'night-2', 'night-3'].map(make))
  t.equal(new Set(pods.map(({ metadata }) => metadata.name)).size, 3)
  const requests = await Promise.all(pods.map((pod) => world.requestOf(pod)))
  t.strictSame(requests.map(({ spec }) => spec.context.objectRef.uid), pods.map(({ metadata }) => metadata.uid))
  for (const [index, pod] of pods.entries()) {
    await world.task(`night-${index + 1}`, index === 1 ? 'rejected' : 'approved')
    const ended = terminated(await self.untilPhase(pod, 'Succeeded'))
    t.match(ended?.message, index === 1 ? /^\{"path":"\/connectors\/\.error\.json".*\n$/ : /"path":"\/connectors\/context\.token"/)
    t.strictSame(await Promise.all(pods.slice(index + 1).map((later) => self.phase(later))), pods.slice(index + 1).map(() => 'Pending'))
  }
  report(t, { Pods: pods.length, requests: requests.length, approved: 2, rejected: 1 })
})

await test('when a Pod has ended its grant is gone, and after its deletion its volume and its record too', async (t) => {
  await world.task('ending', 'pending')
  const pod = await self.pod('ending', ['harbor'], { args: ['list', '/connectors'] })
  const request = await world.requestOf(pod)
  await world.setState('ending', 'approved')
  await self.untilPhase(pod, 'Succeeded')
  const endedAt = performance.now()
  await untilReads(kube, { namespace: shared, name: request.metadata.name }, { reads: { AccessPermissionSync: 'True/PermissionCleanUp' } })
  await untilTrue('the API server says no', async () => !(await world.mayUse('ending', 'harbor')))
  const took = performance.now() - endedAt
  const grants = await world.grantsOf(request)
  t.strictSame([grants.roles.length, grants.bindings.length], [0, 0])
  await world.deletePod('ending')
  await self.untilGone(pod)
  // The API server removes a Pod that has ended at once, before kubelet takes its volume off.
  await untilTrue('volume and record are gone', async () => (await self.onDisk(pod)) === undefined && (await self.records(pod)).volumes === 0)
  await plugin.end()
  t.equal(node.endOf('csi'), 'exit code 0')
  await plugin.restart()
  await untilTrue('the next start forgets what it asked for', async () => (await self.records(pod)).asked === 0)
  report(t, { grants: grants.roles.length + grants.bindings.length, 'end to no grant': seconds(took), files: 0, records: 0 })
})

await test('what cannot be mounted says so at the Pod, and what is allowed already is mounted without a request', async (t) => {
  const refused: [what: string, attributes: Record<string, string>, reason: string, words: string][] = [
    ['missing', { connectors: `${shared}/nowhere` }, 'MountFailed', `connector "${shared}/nowhere" not found`],
    ['misspelt', { conectors: 'harbor' }, 'FailedMount', 'conectors'],
    ['hidden', { connectors: 'kube-system/harbor' }, 'MountFailed', 'connector "kube-system/harbor" not found'],
  ]
  for (const [name, attributes, reason, words] of refused) {
    const pod = await self.pod(name, ['harbor'], { attributes })
    await self.untilEvent(pod, reason, words)
    t.strictSame([await self.phase(pod), await self.onDisk(pod), await world.requestsOf(pod)], ['Pending', undefined, []], name)
    await world.deletePod(name)
  }
  await cluster.kubectl(['create', 'role', 'use-harbor', '-n', shared, '--verb=*', '--resource=connectors.connectors.alauda.io/proxy', '--resource-name=harbor'])
  await cluster.kubectl(['create', 'rolebinding', 'trusted-uses-harbor', '-n', shared, '--role=use-harbor', `--serviceaccount=${work}:trusted`])
  await cluster.kubectl(['create', 'rolebinding', 'trusted-sees-harbor', '-n', shared, '--role=see-connectors', `--serviceaccount=${work}:trusted`])
  await cluster.kubectl(['create', 'serviceaccount', 'trusted', '-n', work])
  const begin = performance.now()
  const trusted = await self.pod('trusted', ['harbor'], { spec: { serviceAccountName: 'trusted' } })
  await self.untilPhase(trusted, 'Running')
  const took = performance.now() - begin
  t.strictSame(await world.requestsOf(trusted), [])
  t.notMatch(await self.events(trusted), [{ reason: 'AccessWaiting' }])
  report(t, { 'refused with a sentence': refused.length, 'requests of all': 0, 'allowed Pod to running': seconds(took) })
})
