import { test } from 'tap'
import { checksumProblem, chooseSource, goProblem, missingPrograms, neededGo, platformName, readForced, type GoFact, type SourceFacts } from '../../../hack/control-plane/source.ts'

const GO: GoFact = { found: true, version: 'go1.26.8', mayFetchToolchain: false }

/** A fresh Linux machine with Go and network. */
const FRESH: SourceFacts = { cached: { build: false, download: false }, platform: 'linux-amd64', pinned: true, go: GO, neededGo: '1.26.0' }

const CHOICES: Record<string, { facts: Partial<SourceFacts>; use: string }> = {
  'a fresh machine downloads': { facts: {}, use: 'download' },
  'a complete KUBEBUILDER_ASSETS comes before everything': { facts: { assets: { folder: '/a', missing: [] }, cached: { build: true, download: true } }, use: 'assets' },
  'KUBEBUILDER_ASSETS comes before a forced source too': { facts: { assets: { folder: '/a', missing: [] }, forced: 'build' }, use: 'assets' },
  'what is cached is used': { facts: { cached: { build: false, download: true } }, use: 'cached-download' },
  'what was built is preferred to what was downloaded': { facts: { cached: { build: true, download: true } }, use: 'cached-build' },
  'no download: build': { facts: { downloadFailure: 'no network' }, use: 'build' },
  'nothing pinned for the platform: build': { facts: { platform: 'linux-arm64', pinned: false }, use: 'build' },
  'forced to build': { facts: { forced: 'build' }, use: 'build' },
  'forced to build, with only a downloaded set cached': { facts: { forced: 'build', cached: { build: false, download: true } }, use: 'build' },
  'forced to build, with a built set cached': { facts: { forced: 'build', cached: { build: true, download: false } }, use: 'cached-build' },
  'forced to download, with only a built set cached': { facts: { forced: 'download', cached: { build: true, download: false } }, use: 'download' },
  'forced to download, with a downloaded set cached': { facts: { forced: 'download', cached: { build: true, download: true } }, use: 'cached-download' },
  'the cache is used without Go and network': { facts: { cached: { build: true, download: false }, go: { found: false }, downloadFailure: 'x' }, use: 'cached-build' },
}

for (const [sentence, { facts, use }] of Object.entries(CHOICES))
  await test(sentence, async (t) => {
    t.equal(chooseSource({ ...FRESH, ...facts }).use, use)
  })

const REFUSALS: Record<string, { facts: Partial<SourceFacts>; message: string }> = {
  'an incomplete KUBEBUILDER_ASSETS is not passed over': {
    facts: { assets: { folder: '/a', missing: ['etcd', 'kubectl'] }, cached: { build: true, download: true } },
    message: 'KUBEBUILDER_ASSETS is /a, but etcd, kubectl is not there: complete the folder or unset the variable',
  },
  'no network and no Go': {
    facts: { downloadFailure: 'out of reach', go: { found: false } },
    message:
      'no control plane: the download failed (out of reach) and Go is not installed; install Go 1.26.0 or newer, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl',
  },
  'no network and an old Go': {
    facts: { downloadFailure: 'out of reach', go: { found: true, version: 'go1.25.3', mayFetchToolchain: false } },
    message:
      'no control plane: the download failed (out of reach) and Go 1.25.3 is too old; install Go 1.26.0 or newer, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl',
  },
  'forced to build without Go': {
    facts: { forced: 'build', go: { found: false } },
    message: 'no control plane: Go is not installed; install Go 1.26.0 or newer, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl',
  },
  'forced to download without network does not build': {
    facts: { forced: 'download', downloadFailure: 'out of reach' },
    message: 'no control plane: the download failed (out of reach); try again, or unset ACCESS_GATE_CONTROL_PLANE to build with Go',
  },
  'forced to download where nothing is pinned': {
    facts: { forced: 'download', platform: 'linux-arm64', pinned: false },
    message: 'no control plane: no download is pinned for linux-arm64; unset ACCESS_GATE_CONTROL_PLANE',
  },
  'a platform on which no control plane runs': {
    facts: { platform: undefined, pinned: false },
    message: 'no control plane: this platform is neither Linux nor macOS on amd64 or arm64; set KUBEBUILDER_ASSETS',
  },
}

for (const [sentence, { facts, message }] of Object.entries(REFUSALS))
  await test(sentence, async (t) => {
    t.strictSame(chooseSource({ ...FRESH, ...facts }), { use: 'nothing', message })
  })

const GO_PROBLEMS: Record<string, { go: GoFact; problem: string | undefined }> = {
  'the version that is needed': { go: { found: true, version: 'go1.26.0', mayFetchToolchain: false }, problem: undefined },
  'a newer minor version': { go: { found: true, version: 'go1.27', mayFetchToolchain: false }, problem: undefined },
  'a newer major version': { go: { found: true, version: 'go2.0', mayFetchToolchain: false }, problem: undefined },
  'an older one that may fetch a newer one': { go: { found: true, version: 'go1.21.0', mayFetchToolchain: true }, problem: undefined },
  'one too old to fetch a newer one': {
    go: { found: true, version: 'go1.20.14', mayFetchToolchain: true },
    problem: 'Go 1.20.14 is too old; install Go 1.26.0 or newer',
  },
  'a numerically older one that sorts later as text': {
    go: { found: true, version: 'go1.9', mayFetchToolchain: false },
    problem: 'Go 1.9 is too old; install Go 1.26.0 or newer',
  },
  'no Go': { go: { found: false }, problem: 'Go is not installed; install Go 1.26.0 or newer' },
}

for (const [sentence, { go, problem }] of Object.entries(GO_PROBLEMS))
  await test(`Go: ${sentence}`, async (t) => {
    t.equal(goProblem(go, '1.26.0'), problem)
  })

await test('platforms are spelled as Go and the envtest releases spell them', async (t) => {
  t.equal(platformName('linux', 'x64'), 'linux-amd64')
  t.equal(platformName('linux', 'arm64'), 'linux-arm64')
  t.equal(platformName('darwin', 'x64'), 'darwin-amd64')
  t.equal(platformName('darwin', 'arm64'), 'darwin-arm64')
  t.equal(platformName('win32', 'x64'), undefined)
  t.equal(platformName('linux', 'ia32'), undefined)
})

await test('a checksum is right in either case of its letters, and wrong otherwise', async (t) => {
  t.equal(checksumProblem('http://x', 'AB01', 'ab01'), undefined)
  t.match(checksumProblem('http://x', 'ab01', 'ab02'), /http:\/\/x has sha512 ab02…, but ab01… is pinned: it was not used; try again/)
  t.match(checksumProblem('http://x', 'ab01', ''), /was not used/)
})

await test('the controller manager may be missing, nothing else', async (t) => {
  t.strictSame(missingPrograms(['etcd', 'kube-apiserver', 'kubectl']), [])
  t.strictSame(missingPrograms(['kube-controller-manager', 'kubectl']), ['etcd', 'kube-apiserver'])
})

await test('the Go version comes from go.mod', async (t) => {
  t.equal(neededGo('module x\n\ngo 1.26.0\n\nrequire y v1\n'), '1.26.0')
})

await test('ACCESS_GATE_CONTROL_PLANE is build, download or unset', async (t) => {
  t.strictSame(readForced(undefined), {})
  t.strictSame(readForced(''), {})
  t.strictSame(readForced('build'), { forced: 'build' })
  t.strictSame(readForced('download'), { forced: 'download' })
  t.strictSame(readForced('brew'), { problem: 'ACCESS_GATE_CONTROL_PLANE must be "build" or "download"; got "brew"' })
})
