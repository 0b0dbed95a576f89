/** Brings a pinned archive onto this machine: nothing of it is unpacked before its checksum was right. */
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { messageOf, errorCode } from '../../src/errors.ts'
import { ControlPlaneFailure } from './failure.ts'
import { PROGRAMS, type EnvtestArchive } from './programs.ts'
import { lastLines, run } from './run.ts'
import { checksumProblem, missingPrograms } from './source.ts'

export interface DownloadOptions {
  /** Called with how far it is. */
  detail?: (text: string) => void
  signal?: AbortSignal
  /** Milliseconds; a server that does not answer in this time counts as out of reach. Default 5,000. */
  answerMs?: number
  /** Milliseconds; a download that stands still for this long is given up. Default 30,000. */
  idleMs?: number
}

/** The archive could not be had; another source may do. A wrong checksum is not one of these. */
export class DownloadUnavailable extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'DownloadUnavailable'
  }
}

const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error ? (errorCode(cause) ?? cause.message) : messageOf(error)
}

/** A file that cannot be written; what the network does wrong comes wrapped by fetch. */
const isLocal = (error: unknown): boolean => error instanceof Error && 'syscall' in error

/** Aborts when `touch` was not called for a while. */
const watchdog = (ms: number): { signal: AbortSignal; touch: (nextMs: number) => void; stop: () => void } => {
  const controller = new AbortController()
  let timer: NodeJS.Timeout
  const touch = (nextMs: number): void => {
    clearTimeout(timer)
    timer = setTimeout(() => controller.abort(new Error(`no answer within ${nextMs / 1000} s`)), nextMs)
  }
  touch(ms)
  return { signal: controller.signal, touch, stop: () => clearTimeout(timer) }
}

/** @returns the sha512 of what was written, in hex */
const fetchTo = async (url: string, file: string, options: DownloadOptions): Promise<string> => {
  const { detail, signal, answerMs = 5_000, idleMs = 30_000 } = options
  const idle = watchdog(answerMs)
  const ending = signal === undefined ? idle.signal : AbortSignal.any([idle.signal, signal])
  try {
    const response = await fetch(url, { signal: ending, redirect: 'follow' })
    if (!response.ok || response.body === null) throw new DownloadUnavailable(`${url} answered ${response.status}`)
    const hash = createHash('sha512')
    let bytes = 0
    const measure = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        idle.touch(idleMs)
        hash.update(chunk)
        bytes += chunk.length
        detail?.(`${Math.round(bytes / 1e6)} MB`)
        done(null, chunk)
      },
    })
    await pipeline(response.body, measure, createWriteStream(file, { mode: 0o600 }), { signal: ending })
    return hash.digest('hex')
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof DownloadUnavailable || isLocal(error)) throw error
    throw new DownloadUnavailable(`${url} is out of reach: ${reasonOf(idle.signal.aborted ? idle.signal.reason : error)}`, { cause: error })
  } finally {
    idle.stop()
  }
}

/** Archives put their programs some folders deep (controller-tools/envtest); ours are moved to the top. */
const unpack = async (archive: string, folder: string): Promise<void> => {
  const inside = join(folder, 'unpacked')
  await mkdir(inside)
  const tar = await run('tar', ['-xzf', archive, '-C', inside])
  if (tar.code !== 0) throw new ControlPlaneFailure(`tar cannot unpack the downloaded archive: ${lastLines(tar.stderr, 3)}`)
  const entries = await readdir(inside, { recursive: true, withFileTypes: true })
  const found = entries.filter((entry) => entry.isFile() && (PROGRAMS as readonly string[]).includes(entry.name))
  for (const entry of found) {
    await rename(join(entry.parentPath, entry.name), join(folder, entry.name))
    await chmod(join(folder, entry.name), 0o755)
  }
  await rm(inside, { recursive: true })
  const missing = missingPrograms(found.map((entry) => entry.name))
  if (missing.length > 0) throw new ControlPlaneFailure(`the downloaded archive lacks ${missing.join(', ')}; set ACCESS_GATE_CONTROL_PLANE=build to build with Go`)
}

/**
 * Downloads, checks and unpacks an archive into an empty folder.
 * @throws DownloadUnavailable when it cannot be had, ControlPlaneFailure for a wrong checksum or an archive that is not what it must be
 */
export const downloadPrograms = async (archive: EnvtestArchive, folder: string, options: DownloadOptions = {}): Promise<void> => {
  const file = join(folder, 'archive.tar.gz')
  const actual = await fetchTo(archive.url, file, options)
  const problem = checksumProblem(archive.url, archive.sha512, actual)
  if (problem !== undefined) throw new ControlPlaneFailure(problem)
  await unpack(file, folder)
  await rm(file)
}
