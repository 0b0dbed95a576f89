import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { startGuard } from '../../../hack/control-plane/programs-under-guard.ts'
import { isRunning, kill, startScript } from '../../support/processes.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { untilTrue } from '../../support/eventually.ts'

const HOLD_GUARD = join(import.meta.dirname, '..', '..', 'support', 'hold-guard.ts')

interface Pids {
  guard: number
  polite: number
  stubborn: number
}

const holdGuard = async (folder: string): Promise<{ child: ChildProcess; said: Pids }> => {
  const { child, said } = await startScript(HOLD_GUARD, [folder])
  return { child, said: JSON.parse(said) }
}

const shell = (folder: string, name: string, script: string) => ({ name, command: '/bin/sh', args: ['-c', script], cwd: folder, logFile: join(folder, `${name}.log`) })

await test('killing the starter ends the programs, their own children and the guard, and removes the folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-test-'))
  const { child, said } = await holdGuard(folder)
  t.ok(isRunning(said.polite) && isRunning(-said.stubborn) && isRunning(said.guard))
  await kill(child, 'SIGKILL')
  await untilTrue('all processes are gone', () => !isRunning(-said.polite) && !isRunning(-said.stubborn) && !isRunning(said.guard))
  t.notOk(existsSync(folder))
})

await test("Ctrl-C in the starter's terminal does not reach the guard and its programs: the starter decides", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-test-'))
  const { child, said } = await holdGuard(folder)
  // What a terminal does: the signal goes to the whole group. SIGTERM here, which the script takes no notice of.
  process.kill(-(child.pid ?? 0), 'SIGTERM')
  process.kill(said.guard, 'SIGINT')
  process.kill(said.guard, 'SIGHUP')
  t.ok(isRunning(said.polite) && isRunning(said.guard))
  await kill(child, 'SIGKILL')
  await untilTrue('all processes are gone', () => !isRunning(-said.polite) && !isRunning(-said.stubborn) && !isRunning(said.guard))
})

await test('when the guard itself is killed, its starter ends the programs', async (t) => {
  const folder = await temporaryFolder(t)
  const guard = startGuard({ graceMs: 200 })
  const pid = await guard.start(shell(folder, 'one', 'sleep 600'))
  process.kill(guard.pid, 'SIGKILL')
  await untilTrue('the program is gone', () => !isRunning(-pid))
  t.equal(guard.exitOf('one'), 'the guard process died')
  await guard.close()
})

await test('a program that ends is told with its reason, and its output is in the log', async (t) => {
  const folder = await temporaryFolder(t)
  const guard = startGuard({ graceMs: 200 })
  const { promise: end, resolve } = Promise.withResolvers<string>()
  guard.onExit((name, reason) => resolve(`${name}: ${reason}`))
  await guard.start(shell(folder, 'one', 'echo said; echo wrong >&2; exit 3'))
  t.equal(await end, 'one: exit code 3')
  t.equal(guard.exitOf('one'), 'exit code 3')
  t.equal(await readFile(join(folder, 'one.log'), 'utf8'), 'said\nwrong\n')
  await guard.close()
})

await test('one program is stopped and started again under the same name, the other one stays', async (t) => {
  const folder = await temporaryFolder(t)
  const guard = startGuard({ graceMs: 200 })
  const one = await guard.start(shell(folder, 'one', 'exec sleep 600'))
  const two = await guard.start(shell(folder, 'two', 'exec sleep 600'))
  await guard.stop('one')
  t.notOk(isRunning(one))
  t.ok(isRunning(two))
  const again = await guard.start(shell(folder, 'one', 'exec sleep 600'))
  t.ok(isRunning(again))
  t.equal(guard.exitOf('one'), undefined)
  await guard.close()
  t.notOk(isRunning(again) || isRunning(two))
})

await test('one program is killed, with its own children and without a word, the other one stays', async (t) => {
  const folder = await temporaryFolder(t)
  const guard = startGuard({ graceMs: 60_000 })
  const stubborn = await guard.start(shell(folder, 'stubborn', "trap 'echo asked' TERM; sleep 600 & wait; sleep 600"))
  const other = await guard.start(shell(folder, 'other', 'exec sleep 600'))
  await guard.kill('stubborn')
  await untilTrue('its children are gone', () => !isRunning(-stubborn))
  t.equal(guard.exitOf('stubborn'), 'signal SIGKILL')
  t.equal(await readFile(join(folder, 'stubborn.log'), 'utf8'), '')
  t.ok(isRunning(other))
  await guard.close()
})

await test('a program that cannot be started is an error that names it', async (t) => {
  const folder = await temporaryFolder(t)
  const guard = startGuard({ graceMs: 200 })
  const starting = guard.start({ ...shell(folder, 'one', ''), command: '/no/such/program' })
  await t.rejects(starting, { name: 'ControlPlaneFailure', message: /^\/no\/such\/program cannot be started: .*ENOENT/ })
  await guard.close()
})
