import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { downloadPrograms, DownloadUnavailable } from '../../../hack/control-plane/download.ts'
import { ControlPlaneFailure } from '../../../hack/control-plane/failure.ts'
import { freePort } from '../../../hack/control-plane/free-port.ts'
import { makeArchive, serveArchive } from '../../support/archive-server.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const PROGRAMS = ['etcd', 'kube-apiserver', 'kubectl']

await test('an archive with the pinned checksum is unpacked, its programs ready to run', async (t) => {
  const { bytes, sha512 } = await makeArchive(t, [...PROGRAMS, 'README'])
  const { url } = await serveArchive(t, bytes)
  const folder = await temporaryFolder(t)
  await downloadPrograms({ url, sha512 }, folder)
  t.strictSame((await readdir(folder)).toSorted(), PROGRAMS)
  t.equal((await stat(join(folder, 'etcd'))).mode & 0o111, 0o111)
})

await test('an archive with another checksum is refused, and nothing of it is unpacked', async (t) => {
  const { bytes } = await makeArchive(t, PROGRAMS)
  const { url } = await serveArchive(t, bytes)
  const folder = await temporaryFolder(t)
  const pinned = 'ab'.repeat(64)
  await t.rejects(downloadPrograms({ url, sha512: pinned }, folder), { name: 'ControlPlaneFailure', message: /but abababababababab… is pinned: it was not used/ })
  t.strictSame(await readdir(folder), ['archive.tar.gz'])
})

await test('an archive without a required program is refused', async (t) => {
  const { bytes, sha512 } = await makeArchive(t, ['etcd', 'kubectl'])
  const { url } = await serveArchive(t, bytes)
  await t.rejects(downloadPrograms({ url, sha512 }, await temporaryFolder(t)), new ControlPlaneFailure('the downloaded archive lacks kube-apiserver; set ACCESS_GATE_CONTROL_PLANE=build to build with Go'))
})

await test('something with the right checksum that is no archive is refused', async (t) => {
  const bytes = Buffer.from('no archive')
  const { url } = await serveArchive(t, bytes)
  const sha512 = createHash('sha512').update(bytes).digest('hex')
  await t.rejects(downloadPrograms({ url, sha512 }, await temporaryFolder(t)), { name: 'ControlPlaneFailure', message: /^tar cannot unpack/ })
})

await test('a server that says no is out of reach, so that another source is used', async (t) => {
  const { url } = await serveArchive(t, 404)
  await t.rejects(downloadPrograms({ url, sha512: '' }, await temporaryFolder(t)), new DownloadUnavailable(`${url} answered 404`))
})

await test('a port where nobody listens is out of reach', async (t) => {
  const url = `http://127.0.0.1:${await freePort()}/x.tar.gz`
  await t.rejects(downloadPrograms({ url, sha512: '' }, await temporaryFolder(t)), new DownloadUnavailable(`${url} is out of reach: ECONNREFUSED`))
})

await test('a server that never answers is given up', async (t) => {
  const { url } = await serveArchive(t, 'nothing')
  const downloading = downloadPrograms({ url, sha512: '' }, await temporaryFolder(t), { answerMs: 50 })
  await t.rejects(downloading, new DownloadUnavailable(`${url} is out of reach: no answer within 0.05 s`))
})

await test('the signal ends a download, which is not taken for a network that is down', async (t) => {
  const { url } = await serveArchive(t, 'nothing')
  const ending = new AbortController()
  const downloading = downloadPrograms({ url, sha512: '' }, await temporaryFolder(t), { signal: ending.signal })
  ending.abort(new Error('ended by SIGINT'))
  await t.rejects(downloading, new Error('ended by SIGINT'))
})

await test('a disk that cannot be written is not taken for a network that is down', async (t) => {
  const { bytes, sha512 } = await makeArchive(t, PROGRAMS)
  const { url } = await serveArchive(t, bytes)
  const missing = join(await temporaryFolder(t), 'not-there')
  await t.rejects(downloadPrograms({ url, sha512 }, missing), { code: 'ENOENT' })
})
