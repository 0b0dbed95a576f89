import { test, type Test } from 'tap'
import { resolveBinaries } from '../../hack/control-plane/resolve.ts'
import type { ServerProgram } from '../../hack/control-plane/programs.ts'
import { startControlPlane, type ControlPlane } from '../../hack/control-plane/start.ts'
import { isRunning } from '../support/processes.ts'
import { untilTrue } from '../support/eventually.ts'

const { binaries } = await resolveBinaries()

const start = async (t: Test): Promise<ControlPlane> => {
  const controlPlane = await startControlPlane({ log: () => undefined, binaries })
  t.teardown(() => controlPlane.stop())
  return controlPlane
}

const KILLED: Record<string, ServerProgram[]> = {
  'the API server': ['kube-apiserver'],
  etcd: ['etcd'],
  'the API server and etcd': ['kube-apiserver', 'etcd'],
  'everything': ['etcd', 'kube-apiserver', ...(binaries.kubeControllerManager === undefined ? [] : (['kube-controller-manager'] as const))],
}

await test('what is killed on purpose is not told, and comes back with the same data, port and tokens', async (t) => {
  const controlPlane = await start(t)
  const { pids, server } = controlPlane
  let told: string | undefined
  void controlPlane.died.then((sentence) => (told = sentence))
  const token = await controlPlane.serviceAccountToken('default', 'default')
  const kubeconfig = await controlPlane.kubeconfigFor({ name: 'old-token', token })
  const names: string[] = []
  for (const [what, programs] of Object.entries(KILLED)) {
    const name = `before-${names.length}`
    await controlPlane.kubectl(['create', 'configmap', name])
    names.push(`configmap/${name}`)
    const before = programs.map((program) => pids[program] ?? 0)
    for (const program of programs) await controlPlane.kill(program)
    t.notOk(before.some(isRunning), `${what} is gone`)
    t.strictSame(programs.filter((program) => program in pids), [])
    for (const program of programs.toReversed()) await controlPlane.restart(program)
    t.equal((await controlPlane.call('GET', '/readyz')).status, 200, `${what} answers again`)
    t.ok(programs.every((program) => isRunning(pids[program] ?? 0)))
    t.equal(controlPlane.server, server)
    const { stdout } = await controlPlane.kubectl(['get', 'configmaps', '--output', 'name'])
    t.strictSame(stdout.split('\n').filter((line) => line.includes('before-')), names, 'nothing that was written is lost')
    t.match(await controlPlane.kubectl(['auth', 'whoami'], { kubeconfig }), { stdout: /system:serviceaccount:default:default/ })
  }
  // The controllers go on too: the default ServiceAccount of a new namespace is their work.
  await controlPlane.namespace('after')
  t.equal(told, undefined)

  process.kill(pids['etcd'] ?? 0, 'SIGKILL')
  await untilTrue('a crash is told as before', () => told === 'etcd ended (signal SIGKILL)')
  await controlPlane.stop()
  t.notOk(Object.values(pids).some(isRunning))
})

await test('killing twice is killing once, and only what was killed is started again', async (t) => {
  const controlPlane = await start(t)
  await t.rejects(controlPlane.restart('kube-apiserver'), {
    name: 'ControlPlaneFailure',
    message: 'kube-apiserver was not killed; only a killed program can be started again',
  })
  await controlPlane.kill('kube-apiserver')
  await controlPlane.kill('kube-apiserver')
  await controlPlane.restart('kube-apiserver')
  t.equal((await controlPlane.call('GET', '/readyz')).status, 200)
  await controlPlane.kill('kube-apiserver')
  await controlPlane.stop()
  t.notOk(Object.values(controlPlane.pids).some(isRunning), 'a control plane of which a part is down can be stopped')
})
