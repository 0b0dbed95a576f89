import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import type { Binaries } from '../../hack/control-plane/programs.ts'
import { resolveBinaries } from '../../hack/control-plane/resolve.ts'
import { startControlPlane, type ControlPlane, type ControlPlaneOptions } from '../../hack/control-plane/start.ts'
import { isRunning, kill, startScript } from '../support/processes.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { untilTrue } from '../support/eventually.ts'

const { binaries } = await resolveBinaries()

const start = async (t: Test, options: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> => {
  const controlPlane = await startControlPlane({ log: () => undefined, binaries, ...options })
  t.teardown(() => controlPlane.stop())
  return controlPlane
}

const allGone = (pids: Record<string, number>): boolean => Object.values(pids).every((pid) => !isRunning(pid))

interface Held {
  pids: Record<string, number>
  folder: string
}

const hold = async (script: string): Promise<Held & { child: ChildProcess }> => {
  const { child, said } = await startScript(join(import.meta.dirname, '..', 'support', script), [])
  const held: Held = JSON.parse(said)
  return { ...held, child }
}

await test('it starts, answers, and stop leaves neither a process nor a file', async (t) => {
  const controlPlane = await start(t)
  const { pids, description, adminKubeconfig } = controlPlane
  t.equal((await controlPlane.call('GET', '/readyz')).status, 200)
  t.ok(Object.values(pids).every(isRunning))
  t.equal((await stat(description.workDir)).mode & 0o777, 0o700)
  t.equal((await stat(adminKubeconfig)).mode & 0o777, 0o600)
  await controlPlane.stop()
  await controlPlane.stop()
  t.ok(allGone(pids))
  t.notOk(existsSync(description.workDir))
})

await test('SIGKILL of its starter leaves neither a process nor a file', async (t) => {
  const { child, pids, folder } = await hold('hold-control-plane.ts')
  t.strictSame(Object.keys(pids).toSorted(), ['etcd', 'guard', 'kube-apiserver', 'kube-controller-manager'].slice(0, Object.keys(pids).length))
  t.ok(Object.values(pids).every(isRunning))
  await kill(child, 'SIGKILL')
  await untilTrue('all processes are gone', () => allGone(pids))
  t.notOk(existsSync(folder))
})

await test('Ctrl-C in its terminal leaves neither a process nor a file', async (t) => {
  const { child, pids, folder } = await hold('hold-control-plane.ts')
  const exit = once(child, 'exit')
  // What a terminal does: the signal goes to the whole group of the starter.
  process.kill(-(child.pid ?? 0), 'SIGINT')
  t.strictSame(await exit, [0, null])
  await untilTrue('all processes are gone', () => allGone(pids))
  t.notOk(existsSync(folder))
})

await test('it does not keep a finished process alive, and ends with it', async (t) => {
  const { child, pids, folder } = await hold('end-with-control-plane.ts')
  if (child.exitCode === null) await once(child, 'exit')
  t.equal(child.exitCode, 0)
  await untilTrue('all processes are gone', () => allGone(pids))
  t.notOk(existsSync(folder))
})

/** Programs of which one is a script that says something and ends. */
const withBroken = async (t: Test, program: 'etcd' | 'kubeApiserver'): Promise<Binaries> => {
  const file = join(await temporaryFolder(t), program)
  await writeFile(file, '#!/bin/sh\necho "cannot go on: broken on purpose"\nexit 4\n')
  await chmod(file, 0o755)
  return { ...binaries, [program]: file }
}

for (const [program, name] of [['etcd', 'etcd'], ['kubeApiserver', 'kube-apiserver']] as const)
  await test(`${name} that dies at its start: the error shows the end of its log, and nothing is left running`, async (t) => {
    const starting = startControlPlane({ log: () => undefined, binaries: await withBroken(t, program) })
    await t.rejects(starting, { name: 'ControlPlaneFailure', message: `${name} ended at its start (exit code 4); the end of its log:\ncannot go on: broken on purpose` })
  })

await test('a program that dies later is told', async (t) => {
  const controlPlane = await start(t)
  // A control plane keeps no process alive, nor does waiting for its end.
  const alive = setInterval(() => undefined, 1_000)
  t.teardown(() => clearInterval(alive))
  process.kill(controlPlane.pids['kube-apiserver'] ?? 0, 'SIGKILL')
  t.equal(await controlPlane.died, 'kube-apiserver ended (signal SIGKILL)')
  await controlPlane.stop()
  t.ok(allGone(controlPlane.pids))
})

await test('the signal stops it, also while it starts', async (t) => {
  const ending = new AbortController()
  const starting = startControlPlane({ log: () => ending.abort(new Error('ended by SIGINT')), binaries, signal: ending.signal })
  await t.rejects(starting, new Error('ended by SIGINT'))
})
