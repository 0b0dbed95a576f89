/** Which source of the programs comes next. Pure: facts in, decision out. */
import { REQUIRED_PROGRAMS, type Program } from './programs.ts'

/** "linux-amd64" and so on, as Go and the envtest releases spell it; undefined where neither runs a control plane. */
export const platformName = (os: string, cpu: string): string | undefined => {
  const goOs = { linux: 'linux', darwin: 'darwin' }[os]
  const goArch = { x64: 'amd64', arm64: 'arm64' }[cpu]
  return goOs !== undefined && goArch !== undefined ? `${goOs}-${goArch}` : undefined
}

export const missingPrograms = (present: readonly string[]): Program[] => REQUIRED_PROGRAMS.filter((program) => !present.includes(program))

/** @returns undefined when the text says what the pin says, else one sentence. */
export const checksumProblem = (url: string, pinned: string, actual: string): string | undefined =>
  pinned.toLowerCase() === actual.toLowerCase()
    ? undefined
    : `what was downloaded from ${url} has sha512 ${actual.slice(0, 16)}…, but ${pinned.slice(0, 16)}… is pinned: it was not used; ` +
      'try again, or set ACCESS_GATE_CONTROL_PLANE=build to build the programs with Go'

/** What is known about Go on this machine. */
export type GoFact = { found: false } | { found: true; version: string; mayFetchToolchain: boolean }

const numbers = (version: string): number[] => version.replace(/^go/, '').split('.').map((part) => Number.parseInt(part, 10) || 0)

const isOlder = (version: string, than: string): boolean => {
  const [left, right] = [numbers(version), numbers(than)]
  const at = right.findIndex((part, index) => part !== (left[index] ?? 0))
  return at >= 0 && (left[at] ?? 0) < (right[at] ?? 0)
}

/** Go fetches a newer toolchain by itself from this version on, unless GOTOOLCHAIN=local. */
const FIRST_WITH_TOOLCHAINS = '1.21'

/** @returns undefined when this Go can build a module that needs `needed`, else a clause that says why not. */
export const goProblem = (go: GoFact, needed: string): string | undefined => {
  if (!go.found) return `Go is not installed; install Go ${needed} or newer`
  if (!isOlder(go.version, needed)) return undefined
  if (go.mayFetchToolchain && !isOlder(go.version, FIRST_WITH_TOOLCHAINS)) return undefined
  return `Go ${go.version.replace(/^go/, '')} is too old; install Go ${needed} or newer`
}

/** The version in the `go` line of a go.mod. */
export const neededGo = (goMod: string): string => /^go (\S+)$/m.exec(goMod)?.[1] ?? '1.26'

export type Forced = 'build' | 'download'

/** @returns undefined for an unset variable. @throws never; an unknown value is given back as a problem. */
export const readForced = (value: string | undefined): { forced?: Forced; problem?: string } => {
  if (value === undefined || value === '') return {}
  if (value === 'build' || value === 'download') return { forced: value }
  return { problem: `ACCESS_GATE_CONTROL_PLANE must be "build" or "download"; got "${value}"` }
}

export interface SourceFacts {
  /** KUBEBUILDER_ASSETS, when set: the folder and which required programs it lacks. */
  assets?: { folder: string; missing: readonly Program[] }
  forced?: Forced
  /** Complete cache folders of this pin. */
  cached: { build: boolean; download: boolean }
  /** undefined where no pinned programs run. */
  platform: string | undefined
  /** Whether an archive is pinned for the platform. */
  pinned: boolean
  /** Why the download did not come about, once it was tried. */
  downloadFailure?: string
  go: GoFact
  neededGo: string
}

export type SourceChoice =
  | { use: 'assets'; folder: string }
  | { use: 'cached-build' | 'cached-download' | 'download' | 'build' }
  | { use: 'nothing'; message: string }

const nothing = (message: string): SourceChoice => ({ use: 'nothing', message })

const chooseBuild = (facts: SourceFacts): SourceChoice => {
  const problem = goProblem(facts.go, facts.neededGo)
  if (problem === undefined) return { use: 'build' }
  const before = facts.downloadFailure === undefined ? '' : `the download failed (${facts.downloadFailure}) and `
  return nothing(`no control plane: ${before}${problem}, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl`)
}

/** The order: KUBEBUILDER_ASSETS, the cache, a download, a build. What was built is preferred to what was downloaded: it is complete. */
export const chooseSource = (facts: SourceFacts): SourceChoice => {
  const { assets, forced, cached, platform } = facts
  if (assets !== undefined) {
    return assets.missing.length === 0
      ? { use: 'assets', folder: assets.folder }
      : nothing(`KUBEBUILDER_ASSETS is ${assets.folder}, but ${assets.missing.join(', ')} is not there: complete the folder or unset the variable`)
  }
  if (cached.build && forced !== 'download') return { use: 'cached-build' }
  if (cached.download && forced !== 'build') return { use: 'cached-download' }
  if (platform === undefined) return nothing('no control plane: this platform is neither Linux nor macOS on amd64 or arm64; set KUBEBUILDER_ASSETS')
  if (forced === 'build') return chooseBuild(facts)
  if (forced === 'download') {
    if (!facts.pinned) return nothing(`no control plane: no download is pinned for ${platform}; unset ACCESS_GATE_CONTROL_PLANE`)
    if (facts.downloadFailure === undefined) return { use: 'download' }
    return nothing(`no control plane: the download failed (${facts.downloadFailure}); try again, or unset ACCESS_GATE_CONTROL_PLANE to build with Go`)
  }
  return facts.pinned && facts.downloadFailure === undefined ? { use: 'download' } : chooseBuild(facts)
}
