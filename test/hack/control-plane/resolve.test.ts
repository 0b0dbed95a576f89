import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test, type Test } from 'tap'
import { freePort } from '../../../hack/control-plane/free-port.ts'
import { createProgress } from '../../../hack/control-plane/progress.ts'
import { downloadCacheName, type EnvtestPin } from '../../../hack/control-plane/programs.ts'
import { resolveBinaries } from '../../../hack/control-plane/resolve.ts'
import { platformName } from '../../../hack/control-plane/source.ts'
import { makeArchive, serveArchive } from '../../support/archive-server.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const REQUIRED = ['etcd', 'kube-apiserver', 'kubectl']
const PLATFORM = platformName(process.platform, process.arch) ?? 'none'

const pinOf = (url: string, sha512: string): EnvtestPin => ({ kubernetesVersion: 'v0.0.1', archives: { [PLATFORM]: { url, sha512 } } })

/** A machine with an empty cache, tar, and of Go what the script says. */
const machine = async (t: Test, goScript?: string) => {
  const home = await temporaryFolder(t)
  const bin = join(home, 'bin')
  await mkdir(bin)
  if (goScript !== undefined) {
    await writeFile(join(bin, 'go'), `#!/bin/sh\n${goScript}\n`)
    await chmod(join(bin, 'go'), 0o755)
  }
  const lines: string[] = []
  const progress = createProgress({ write: (text) => lines.push(text.trimEnd()) }, () => 0)
  const root = join(home, 'cache', 'access-gate', 'control-plane')
  return { root, lines, progress, env: { XDG_CACHE_HOME: join(home, 'cache'), PATH: `${bin}:/bin:/usr/bin` } }
}

const NO_GO = 'exit 1'
/** Answers as Go does, and "builds" a small file where -o says. */
const FAKE_GO = `case "$1" in
env) printf 'go1.26.1\\nlocal\\n' ;;
build) while [ "$1" != -o ]; do shift; done; echo built > "$2" ;;
esac`
const BROKEN_GO = `case "$1" in
env) printf 'go1.26.1\\nlocal\\n' ;;
build) echo 'main.go:1: broken on purpose' >&2; exit 2 ;;
esac`

const unreachable = async (): Promise<EnvtestPin> => pinOf(`http://127.0.0.1:${await freePort()}/x.tar.gz`, 'ab')

await test('KUBEBUILDER_ASSETS is used as it is', async (t) => {
  const folder = await temporaryFolder(t)
  for (const program of REQUIRED) await writeFile(join(folder, program), '')
  const { env, progress, root } = await machine(t)
  t.strictSame(await resolveBinaries({ env: { ...env, KUBEBUILDER_ASSETS: folder }, progress }), {
    source: 'assets',
    folder,
    binaries: { etcd: join(folder, 'etcd'), kubeApiserver: join(folder, 'kube-apiserver'), kubectl: join(folder, 'kubectl') },
  })
  t.notOk(existsSync(root))
})

await test('KUBEBUILDER_ASSETS without a program is an error, not a reason to look elsewhere', async (t) => {
  const folder = await temporaryFolder(t)
  const { env, progress } = await machine(t, FAKE_GO)
  await t.rejects(resolveBinaries({ env: { ...env, KUBEBUILDER_ASSETS: folder }, progress }), {
    name: 'ControlPlaneFailure',
    message: `KUBEBUILDER_ASSETS is ${folder}, but etcd, kube-apiserver, kubectl is not there: complete the folder or unset the variable`,
  })
})

await test('a download fills the cache; the next time nothing is asked of the network', async (t) => {
  const { bytes, sha512 } = await makeArchive(t, REQUIRED)
  const { url, calls } = await serveArchive(t, bytes)
  const { env, progress, root } = await machine(t)
  const pin = pinOf(url, sha512)
  const first = await resolveBinaries({ env, progress, pin })
  const second = await resolveBinaries({ env, progress, pin })
  t.equal(first.source, 'download')
  t.equal(second.source, 'cached-download')
  t.equal(second.folder, join(root, downloadCacheName('v0.0.1', { url, sha512 })))
  t.equal(calls(), 1)
})

await test('of two at once one downloads, the other one waits for it', async (t) => {
  const { bytes, sha512 } = await makeArchive(t, REQUIRED)
  const { url, calls } = await serveArchive(t, bytes)
  const { env, progress } = await machine(t)
  const both = await Promise.all([1, 2].map(() => resolveBinaries({ env, progress, pin: pinOf(url, sha512) })))
  t.strictSame(both.map(({ source }) => source).toSorted(), ['cached-download', 'download'])
  t.equal(calls(), 1)
})

await test('a wrong checksum ends it: nothing is built in its place, nothing is cached', async (t) => {
  const { bytes } = await makeArchive(t, REQUIRED)
  const { url } = await serveArchive(t, bytes)
  const { env, progress, root } = await machine(t, FAKE_GO)
  await t.rejects(resolveBinaries({ env, progress, pin: pinOf(url, 'ab'.repeat(64)) }), { name: 'ControlPlaneFailure', message: /is pinned: it was not used; try again/ })
  t.strictSame(await readdir(root), [])
})

await test('without network it says so in a line and builds', async (t) => {
  const { env, progress, lines, root } = await machine(t, FAKE_GO)
  const pin = await unreachable()
  const { source, binaries } = await resolveBinaries({ env, progress, pin })
  t.equal(source, 'build')
  t.equal(dirname(dirname(binaries.etcd)), root)
  t.type(binaries.kubeControllerManager, 'string')
  t.match(lines, [/^downloading/, /^downloading .* failed/, /^going on without the download: http:\/\/127.0.0.1:\d+\/x.tar.gz is out of reach: ECONNREFUSED$/, /^building/])
  t.ok(lines.includes('go build kube-apiserver: done in 0 s'))
  t.equal((await resolveBinaries({ env, progress, pin })).source, 'cached-build')
})

await test('without network and Go it says what is missing and what to do', async (t) => {
  const { env, progress } = await machine(t, NO_GO)
  await t.rejects(resolveBinaries({ env, progress, pin: await unreachable() }), {
    name: 'ControlPlaneFailure',
    message: /^no control plane: the download failed \(http.* is out of reach: ECONNREFUSED\) and Go is not installed; install Go \S+ or newer, or set KUBEBUILDER_ASSETS to a folder/,
  })
})

await test('forced to build, it asks nothing of the network', async (t) => {
  const { bytes, sha512 } = await makeArchive(t, REQUIRED)
  const { url, calls } = await serveArchive(t, bytes)
  const { env, progress } = await machine(t, FAKE_GO)
  const { source } = await resolveBinaries({ env: { ...env, ACCESS_GATE_CONTROL_PLANE: 'build' }, progress, pin: pinOf(url, sha512) })
  t.equal(source, 'build')
  t.equal(calls(), 0)
})

await test('a build that fails shows what the compiler said, and caches nothing', async (t) => {
  const { env, progress, root } = await machine(t, BROKEN_GO)
  await t.rejects(resolveBinaries({ env, progress, pin: await unreachable() }), {
    name: 'ControlPlaneFailure',
    message: 'go build of etcd failed; see the lines below\nmain.go:1: broken on purpose',
  })
  t.strictSame(await readdir(root), [])
})

await test('the signal ends a build and frees the cache for the next one', async (t) => {
  const { env, progress, root } = await machine(t, `case "$1" in\nenv) printf 'go1.26.1\\nlocal\\n' ;;\nbuild) exec sleep 60 ;;\nesac`)
  const ending = new AbortController()
  const forced = { ...env, ACCESS_GATE_CONTROL_PLANE: 'build' }
  const building = resolveBinaries({ env: forced, progress: { ...progress, line: () => ending.abort() }, signal: ending.signal })
  await t.rejects(building, { name: 'AbortError' })
  t.strictSame(await readdir(root), [])
})

await test('another value of ACCESS_GATE_CONTROL_PLANE is refused', async (t) => {
  const { env, progress } = await machine(t, FAKE_GO)
  await t.rejects(resolveBinaries({ env: { ...env, ACCESS_GATE_CONTROL_PLANE: 'brew' }, progress }), {
    message: 'ACCESS_GATE_CONTROL_PLANE must be "build" or "download"; got "brew"',
  })
})
