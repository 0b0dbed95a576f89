import { once } from 'node:events'
import { lstat, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { listenOnSocket } from '../../src/csi/sockets.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const said = async (path: string): Promise<string> => {
  const socket = connect(path)
  let text = ''
  socket.on('data', (chunk) => (text += String(chunk)))
  await once(socket, 'close')
  return text
}

const greeter = async (t: Test, path: string, text = 'hello') => {
  const socket = await listenOnSocket(path, (connection) => {
    // Of one that only asks whether anybody is there.
    connection.on('error', () => connection.destroy())
    connection.end(text)
  })
  t.teardown(() => socket.close())
  return socket
}

/** A socket file that nobody serves any more, as a killed plugin leaves it. */
const leaveStale = async (path: string): Promise<void> => {
  const server = createServer()
  await new Promise<void>((resolve) => void server.listen(`${path}.was`, resolve))
  await rename(`${path}.was`, path)
  await new Promise((resolve) => server.close(resolve))
}

await test('a socket is its owner’s alone whatever the mask is, which stays as it was', async (t) => {
  const path = join(await temporaryFolder(t), 'a.sock')
  const before = process.umask(0)
  try {
    await greeter(t, path)
    t.equal(process.umask(), 0)
  } finally {
    process.umask(before)
  }
  t.equal((await lstat(path)).mode & 0o777, 0o600)
  t.equal(await said(path), 'hello')
})

await test('a socket that nobody serves is replaced, and so is a half-made one', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.sock')
  await leaveStale(path)
  await leaveStale(join(folder, '.a.sock.new'))
  await greeter(t, path)
  t.equal(await said(path), 'hello')
  t.strictSame(await readdir(folder), ['a.sock'])
})

await test('closing removes the socket, and lets connections that are there come to their end', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.sock')
  const socket = await listenOnSocket(path, (connection) => connection.pipe(connection))
  const connection = connect(path)
  await once(connection, 'connect')
  await socket.close()
  t.strictSame(await readdir(folder), [])
  connection.end('still')
  t.equal(String((await once(connection, 'data'))[0]), 'still')
  await once(connection, 'close')
})

await test("closing leaves another's socket at the same path", async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.sock')
  const socket = await listenOnSocket(path, () => undefined)
  await rm(path)
  await greeter(t, path, 'the other')
  await socket.close()
  t.equal(await said(path), 'the other')
})

await test('closing twice, or when the socket is gone, is fine', async (t) => {
  const path = join(await temporaryFolder(t), 'a.sock')
  const socket = await listenOnSocket(path, () => undefined)
  await rm(path)
  await socket.close()
  await socket.close()
  t.pass('nothing was thrown')
})

const refusals: Record<string, { prepare: (path: string, t: Test) => Promise<unknown>; file?: string; message: RegExp }> = {
  'a socket that answers': { prepare: (path, t) => greeter(t, path), message: /^the plugin cannot serve on \S+: another process answers there; end it, or give another path$/ },
  'a file': { prepare: (path) => writeFile(path, 'kept'), message: /something that is no socket is there; remove it or give another path$/ },
  'a link, even to a socket that nobody serves': {
    prepare: async (path) => {
      await leaveStale(`${path}.target`)
      await symlink(`${path}.target`, path)
    },
    message: /something that is no socket/,
  },
  'a folder that is not there': { prepare: () => Promise.resolve(), file: 'nowhere/a.sock', message: /: ENOENT|EACCES/ },
  'a path that is too long for a socket': { prepare: () => Promise.resolve(), file: `${'a'.repeat(100)}.sock`, message: /must be shorter; give one of at most 100 bytes$/ },
}

for (const [sentence, { prepare, file, message }] of Object.entries(refusals)) {
  await test(`${sentence} is a clear error, and stays as it is`, async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, file ?? 'a.sock')
    await prepare(path, t)
    const before = await readdir(folder)
    await t.rejects(listenOnSocket(path, () => undefined), { code: 'CONFIG_INVALID', message })
    t.strictSame(await readdir(folder), before)
    if (sentence === 'a file') t.equal(await readFile(path, 'utf8'), 'kept')
    if (sentence === 'a socket that answers') t.equal(await said(path), 'hello')
  })
}

await test('a path that depends on where the plugin was started is refused', async (t) => {
  await t.rejects(listenOnSocket('a.sock', () => undefined), { code: 'CONFIG_INVALID', message: 'the plugin cannot serve on a.sock: give an absolute path' })
})
