import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { t as file, test } from 'tap'
import { callApi } from '../../hack/control-plane/api-call.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { run } from '../../hack/control-plane/run.ts'
import { OWN_NAMESPACES } from '../../hack/node/namespaces.ts'
import { resolveNode } from '../../hack/node/programs.ts'
import { startNode } from '../../hack/node/start.ts'
import { untilTrue } from '../support/eventually.ts'
import { deletePod, readPod, startPod, terminated, untilPhase } from '../support/node-pods.ts'
import { containerIds, NOTHING, remainsOf } from '../support/node-remains.ts'
import { isRunning, kill, startScript } from '../support/processes.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** What kubelet would set for the whole machine, and must not. */
const SETTINGS = ['vm/overcommit_memory', 'vm/panic_on_oom', 'kernel/panic', 'kernel/panic_on_oops'].map((name) => `/proc/sys/${name}`)
const settings = (): Promise<string[]> => Promise.all(SETTINGS.map((path) => readFile(path, 'utf8')))

const programs = await resolveNode()

await test('its first process, which ends all that it sees, refuses to do so anywhere but as PID 1, and to remove any other folder than that of a node', async (t) => {
  const folder = await temporaryFolder(t)
  // In namespaces where a shell is PID 1: what goes wrong ends nothing else.
  const inside = ['-c', '"$0" run "$1" /bin/true; echo "exit code $?"', programs.init, join(folder, 'access-gate-node-x')]
  const refused = await run(programs.unshare, [...OWN_NAMESPACES, '/bin/sh', ...inside])
  t.equal(refused.stdout, 'exit code 2\n')
  t.match(refused.stderr, /^init: init run ends all processes that it sees: start it as PID 1 of a namespace of its own/)
  t.match(await run(programs.init, ['sweep', folder]), { code: 2, stderr: /must be an absolute path whose last name begins with "access-gate-node-"; got/ })
  t.ok(existsSync(folder))
})

const settingsBefore = await settings()
const cluster = await startControlPlane({ log: () => undefined })
file.teardown(() => cluster.stop())
const node = await startNode({ cluster, programs, log: () => undefined })
file.teardown(() => node.stop())
const nodeFolder = dirname(node.kubeletDir)
const namespace = await cluster.namespace('node')
const listing = { namespace, name: 'listing' }
const volumes = [{ name: 'files', configMap: { name: 'files', defaultMode: 0o440 } }]
const mounts = [{ name: 'files', mountPath: '/files' }]

await test('a Pod runs to its end, and says what its container saw', async (t) => {
  await cluster.kubectl(['create', 'configmap', 'files', '-n', namespace, '--from-literal=greeting=hello'])
  const made = await startPod(cluster, node, { ...listing, args: ['list', '-text', '/files'], spec: { volumes, securityContext: { fsGroup: 4711, runAsUser: 1000 } }, mounts })
  const message = terminated(await untilPhase(cluster, listing, 'Succeeded'))?.message ?? ''
  const lines: Record<string, unknown>[] = message.trimEnd().split('\n').map((line) => JSON.parse(line))
  t.match(
    lines.find(({ type }) => type === 'file'),
    { path: /^\/files\/.*\/greeting$/, mode: '0440', uid: 0, gid: 4711, size: 5, sha256: /^2cf24dba5fb0a30e/, text: 'hello' },
  )
  t.equal(await node.containerLog({ ...listing, container: 'main' }), message)
  t.match(await node.ctr(['containers', 'ls']), { code: 0, stdout: new RegExp(node.image) })
  await deletePod(cluster, listing)
  t.match(await remainsOf(join(node.kubeletDir, 'pods', made.metadata.uid), []), { processes: [], mounts: [] })
})

await test('the exit code of a container is what it was told to be', async (t) => {
  const pod = { namespace, name: 'failing' }
  await startPod(cluster, node, { ...pod, args: ['cat', '-code', '3', '/files/greeting'], spec: { volumes }, mounts })
  t.match(terminated(await untilPhase(cluster, pod, 'Failed')), { exitCode: 3, message: 'hello' })
})

await test('containers live on while kubelet and containerd are killed and started again, and can be ended then', async (t) => {
  const pod = { namespace, name: 'lasting' }
  await startPod(cluster, node, { ...pod, args: ['watch', '-text', '/files'], spec: { volumes }, mounts })
  await untilPhase(cluster, pod, 'Running')
  for (const program of ['kubelet', 'containerd']) {
    const pid = await node.pidOf(program)
    await node.kill(program)
    t.equal(await node.pidOf(program), undefined)
    t.equal(node.endOf(program), 'signal SIGKILL')
    await node.restart(program)
    t.not(await node.pidOf(program), pid)
  }
  t.match(await readPod(cluster, pod), { status: { phase: 'Running' } })
  t.match(await node.containerLog({ ...pod, container: 'main' }), /^--\n.*"text":"hello"/s)
  await deletePod(cluster, pod)
})

await test('kubectl shows what a container says and runs a command in it, and nobody else can', async (t) => {
  const pod = { namespace, name: 'talking' }
  await startPod(cluster, node, { ...pod, args: ['watch', '-text', '/files'], spec: { volumes }, mounts })
  await untilPhase(cluster, pod, 'Running')
  t.match((await cluster.kubectl(['logs', '-n', namespace, 'talking'])).stdout, /"text":"hello"/)
  t.equal((await cluster.kubectl(['exec', '-n', namespace, 'talking', '--', '/workload', 'cat', '-message=', '/files/greeting'])).stdout, 'hello')
  const { stdout } = await cluster.kubectl(['get', 'node', node.nodeName, '-o', 'jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port}'])
  const call = { server: `https://localhost:${stdout}`, caPem: await readFile(join(node.kubeletDir, 'pki', 'kubelet.crt'), 'utf8'), token: cluster.description.adminToken }
  t.equal((await callApi(call, 'GET', '/pods')).status, 401)
  await deletePod(cluster, pod)
})

await test('a program of the node sees its mounts, and its end is told unless it was wanted', async (t) => {
  const script = 'mount -t tmpfs tmpfs "$0" && grep -c " $0 " /proc/self/mountinfo && exec sleep 600'
  await node.run({ name: 'mounting', command: '/bin/sh', args: ['-c', script, join(node.kubeletDir, 'plugins')] })
  await untilTrue('it says that it has mounted', async () => (await node.logs('mounting')).startsWith('1'))
  t.match(await remainsOf(join(node.kubeletDir, 'plugins'), []), { mounts: [] }, 'this process does not see it')
  await node.end('mounting')
  t.equal(node.endOf('mounting'), 'signal SIGTERM')
  // A node keeps no process alive, nor does waiting for its end.
  const alive = setInterval(() => undefined, 1_000)
  t.teardown(() => clearInterval(alive))
  await node.run({ name: 'short', command: '/bin/sh', args: ['-c', 'exit 7'] })
  t.equal(await node.died, 'short ended (exit code 7)')
})

await test('stopped with a container running, it leaves no process, mount, control group or file, and the machine as it was', async (t) => {
  const pod = { namespace, name: 'running' }
  await startPod(cluster, node, { ...pod, args: ['pause'], spec: { volumes }, mounts })
  await untilPhase(cluster, pod, 'Running')
  const containers = await containerIds(nodeFolder)
  const now = await remainsOf(nodeFolder, containers)
  t.ok(now.processes.length > 3 && now.cgroups.length > 1 && now.folders.length === 1, 'what is looked for can be found')
  await node.stop()
  await node.stop()
  t.strictSame(await remainsOf(nodeFolder, containers), NOTHING)
  t.strictSame(await settings(), settingsBefore)
})

for (const victim of ['starter', 'node'] as const)
  await test(`SIGKILL of ${victim === 'starter' ? 'its starter' : 'the node itself'} leaves nothing of a node either`, async (t) => {
    const { child, said } = await startScript(join(import.meta.dirname, '..', 'support', 'hold-node.ts'), [])
    t.teardown(async () => {
      if (child.exitCode === null && child.signalCode === null) await kill(child, 'SIGKILL')
    })
    const { folder, pids, first }: { folder: string; pids: number[]; first: number } = JSON.parse(said)
    const containers = await containerIds(folder)
    t.ok(pids.every(isRunning) && containers.length > 1)
    if (victim === 'starter') await kill(child, 'SIGKILL')
    else process.kill(first, 'SIGKILL')
    await untilTrue('all processes are gone', async () => (await remainsOf(folder, containers)).processes.every((line) => line.includes('hold-node')))
    if (victim === 'node') {
      // The starter is there, and is asked to end.
      const exit = once(child, 'exit')
      child.kill('SIGINT')
      await exit
    }
    await untilTrue('nothing is left', async () => JSON.stringify(await remainsOf(folder, containers)) === JSON.stringify(NOTHING))
    t.strictSame(await remainsOf(folder, containers), NOTHING)
  })
