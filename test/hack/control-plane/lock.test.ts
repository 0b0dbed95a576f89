import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { takeLock } from '../../../hack/control-plane/lock.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

/** The id of a process that has ended. */
const deadPid = async (): Promise<number> => {
  const child = spawn('true')
  await once(child, 'exit')
  return child.pid ?? 0
}

const makeLock = async (lock: string, owner: { pid: number; host: string }): Promise<void> => {
  await mkdir(lock)
  await writeFile(join(lock, 'owner.json'), JSON.stringify(owner))
}

await test('a lock is held by one until it gives it back', async (t) => {
  const lock = join(await temporaryFolder(t), 'in', 'lock')
  const release = await takeLock(lock)
  t.equal(await takeLock(lock, { wait: false }), undefined)
  await release?.()
  const again = await takeLock(lock, { wait: false })
  t.type(again, 'function')
  await again?.()
  t.notOk(existsSync(lock))
})

await test('the second one waits, is told by whom once, and gets the lock', async (t) => {
  const lock = join(await temporaryFolder(t), 'lock')
  const release = await takeLock(lock)
  const told: (number | undefined)[] = []
  const { promise: waits, resolve } = Promise.withResolvers<void>()
  const second = takeLock(lock, {
    onWait: (pid) => {
      told.push(pid)
      resolve()
    },
  })
  await waits
  await release?.()
  t.type(await second, 'function')
  t.strictSame(told, [process.pid])
  await (await second)?.()
})

await test('a lock whose owner has died is taken over', async (t) => {
  const lock = join(await temporaryFolder(t), 'lock')
  await makeLock(lock, { pid: await deadPid(), host: hostname() })
  const release = await takeLock(lock, { wait: false })
  t.type(release, 'function')
  await release?.()
})

await test('a pid of another machine says nothing: the lock stays until it is no longer touched', async (t) => {
  const lock = join(await temporaryFolder(t), 'lock')
  await makeLock(lock, { pid: await deadPid(), host: 'another-machine' })
  t.equal(await takeLock(lock, { wait: false }), undefined)
  const longAgo = new Date(Date.now() - 3_600_000)
  await utimes(lock, longAgo, longAgo)
  const release = await takeLock(lock, { wait: false })
  t.type(release, 'function')
  await release?.()
})

await test('a fresh lock without an owner yet is respected', async (t) => {
  const lock = join(await temporaryFolder(t), 'lock')
  await mkdir(lock)
  t.equal(await takeLock(lock, { wait: false }), undefined)
})

await test('waiting ends with the signal', async (t) => {
  const lock = join(await temporaryFolder(t), 'lock')
  const release = await takeLock(lock)
  const ending = new AbortController()
  const second = takeLock(lock, { signal: ending.signal, onWait: () => ending.abort() })
  await t.rejects(second, { name: 'AbortError' })
  await release?.()
})
