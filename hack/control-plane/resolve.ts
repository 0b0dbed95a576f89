/** Finds, downloads or builds the programs of a control plane. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../src/errors.ts'
import { cacheRoot, fillAtomically } from './cache.ts'
import { downloadPrograms, DownloadUnavailable } from './download.ts'
import { ControlPlaneFailure } from './failure.ts'
import { buildPrograms, neededGoVersion } from './go-build.ts'
import { findGo } from './go-command.ts'
import { takeLock } from './lock.ts'
import { createProgress, type Progress } from './progress.ts'
import { buildCacheName, downloadCacheName, PROGRAMS, readEnvtestPin, type Binaries, type EnvtestArchive, type EnvtestPin } from './programs.ts'
import { chooseSource, missingPrograms, platformName, readForced, type SourceChoice, type SourceFacts } from './source.ts'

const presentIn = (folder: string): string[] => PROGRAMS.filter((program) => existsSync(join(folder, program)))

const isComplete = (folder: string): boolean => missingPrograms(presentIn(folder)).length === 0

/** The programs of a folder that holds at least the required ones. */
export const binariesIn = (folder: string): Binaries => {
  const controllerManager = join(folder, 'kube-controller-manager')
  return {
    etcd: join(folder, 'etcd'),
    kubeApiserver: join(folder, 'kube-apiserver'),
    kubectl: join(folder, 'kubectl'),
    ...(existsSync(controllerManager) && { kubeControllerManager: controllerManager }),
  }
}

export interface ResolveOptions {
  env?: NodeJS.ProcessEnv
  progress?: Progress
  /** For tests; left out, the pinned one. */
  pin?: EnvtestPin
  /** Aborting ends a download, a build or the waiting for another process. */
  signal?: AbortSignal
}

export interface Resolved {
  source: Exclude<SourceChoice['use'], 'nothing'>
  folder: string
  binaries: Binaries
}

/** Where this pin's programs are kept on this machine. */
interface Places {
  /** The cache folder. */
  root: string
  platform: string | undefined
  archive: EnvtestArchive | undefined
  /** Folders of complete sets; they may not exist. */
  built: string
  downloaded: string | undefined
}

const placesFor = (env: NodeJS.ProcessEnv, pin: EnvtestPin): Places => {
  const platform = platformName(process.platform, process.arch)
  const root = cacheRoot({ env, platform: process.platform, home: homedir() })
  const archive = platform === undefined ? undefined : pin.archives[platform]
  const built = join(root, buildCacheName(platform ?? 'other'))
  const downloaded = archive === undefined ? undefined : join(root, downloadCacheName(pin.kubernetesVersion, archive))
  return { platform, root, archive, built, downloaded }
}

const gatherFacts = async (env: NodeJS.ProcessEnv, at: Places, downloadFailure: string | undefined): Promise<SourceFacts> => {
  const { forced, problem } = readForced(env['ACCESS_GATE_CONTROL_PLANE'])
  if (problem !== undefined) throw new ControlPlaneFailure(problem)
  const assets = env['KUBEBUILDER_ASSETS']
  return {
    ...(assets !== undefined && assets !== '' && { assets: { folder: assets, missing: missingPrograms(presentIn(assets)) } }),
    ...(forced !== undefined && { forced }),
    ...(downloadFailure !== undefined && { downloadFailure }),
    cached: { build: isComplete(at.built), download: at.downloaded !== undefined && isComplete(at.downloaded) },
    platform: at.platform,
    pinned: at.archive !== undefined,
    go: await findGo(env),
    neededGo: neededGoVersion(),
  }
}

interface Work {
  env: NodeJS.ProcessEnv
  progress: Progress
  signal?: AbortSignal
}

type Outcome = { folder: string } | { downloadFailure: string }

const download = async (at: Places, pin: EnvtestPin, { progress, signal }: Work): Promise<Outcome> => {
  const { root, archive } = at
  if (archive === undefined) throw new ControlPlaneFailure('no control plane: no download is pinned for this platform')
  const fill = (folder: string): Promise<void> =>
    progress.step(`downloading the control plane ${pin.kubernetesVersion}`, (detail) => downloadPrograms(archive, folder, { detail, ...(signal !== undefined && { signal }) }))
  try {
    return { folder: await fillAtomically(root, downloadCacheName(pin.kubernetesVersion, archive), fill) }
  } catch (error) {
    if (!(error instanceof DownloadUnavailable)) throw error
    progress.line(`going on without the download: ${messageOf(error)}`)
    return { downloadFailure: messageOf(error) }
  }
}

const build = async ({ root, platform = 'other' }: Places, work: Work): Promise<Outcome> => ({
  folder: await fillAtomically(root, buildCacheName(platform), (folder) => buildPrograms(folder, work)),
})

/**
 * The programs, from KUBEBUILDER_ASSETS, the cache, a download or a build, in this order.
 * Of several processes one fills the cache, the others wait for it.
 * @throws ControlPlaneFailure with one sentence that says what to do
 */
export const resolveBinaries = async (options: ResolveOptions = {}): Promise<Resolved> => {
  const { env = process.env, progress = createProgress(process.stderr), pin = readEnvtestPin(), signal } = options
  const work: Work = { env, progress, ...(signal !== undefined && { signal }) }
  const at = placesFor(env, pin)
  const found = (source: Resolved['source'], folder: string): Resolved => ({ source, folder, binaries: binariesIn(folder) })
  let release: (() => Promise<void>) | undefined
  let downloadFailure: string | undefined
  try {
    for (;;) {
      const choice = chooseSource(await gatherFacts(env, at, downloadFailure))
      if (choice.use === 'nothing') throw new ControlPlaneFailure(choice.message)
      if (choice.use === 'assets') return found(choice.use, choice.folder)
      if (choice.use === 'cached-build') return found(choice.use, at.built)
      if (choice.use === 'cached-download' && at.downloaded !== undefined) return found(choice.use, at.downloaded)
      if (release === undefined) {
        const onWait = (pid: number | undefined): void => progress.line(`waiting for process ${pid ?? 'of another session'}, which fills the same cache …`)
        release = await takeLock(join(at.root, '.lock'), { onWait, ...(signal !== undefined && { signal }) })
        // The other process may have done the work meanwhile: look again.
        continue
      }
      const outcome = choice.use === 'build' ? await build(at, work) : await download(at, pin, work)
      if ('folder' in outcome) return found(choice.use, outcome.folder)
      downloadFailure = outcome.downloadFailure
    }
  } finally {
    await release?.()
  }
}
