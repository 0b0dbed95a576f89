/** What the plugin remembers across a restart: of each volume what was mounted, of each Pod for which Connectors it was asked. */
import { createHash } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { own } from '../core/json-shape.ts'
import type { PodKey } from '../core/request-identity.ts'
import { messageOf, errorCode } from '../errors.ts'
import { CsiError } from './grpc-status.ts'
import { createVolumeLocks } from './volume-locks.ts'

export interface VolumeRecord {
  volumeId: string
  target: string
  volumeName: string
  pod: PodKey
  /** refused: `.error.json` alone is there. */
  kind: 'files' | 'refused'
  /** A container of the Pod was seen to be started: kubelet had its OK. */
  started: boolean
}

/** Errors are CsiErrors. The record of a volume that cannot be read is logged and counts as if it were not there. */
export interface VolumeRecords {
  get(volumeId: string): Promise<VolumeRecord | undefined>
  /** To be called when everything that it says is on the disk. */
  put(record: VolumeRecord): Promise<void>
  /** To be called before what it says is removed. */
  remove(volumeId: string): Promise<void>
  all(): Promise<VolumeRecord[]>
  /**
   * The Connectors, as namespace/name, for which a request of this Pod was ever seen or made. One that is only being made is not among them.
   * @throws CsiError FAILED_PRECONDITION when that cannot be read, for it must not count as nothing: a deleted request would be made again
   */
  asked(podUid: string): Promise<ReadonlySet<string>>
  /** Returns when it will be known also after the node lost power. */
  addAsked(podUid: string, connector: string): Promise<void>
  /** A request is about to be made: what takes no word of that now would not take one of the request either. */
  addMaking(podUid: string, connector: string): Promise<void>
  /** The uids of the Pods of which anything was asked. */
  askedPods(): Promise<string[]>
  /** Forgets what was asked of a Pod. */
  forgetPod(podUid: string): Promise<void>
}

interface Asked {
  podUid: string
  /** For which one was seen or made. */
  connectors: string[]
  /** For which one may be there or not: nobody saw it yet. */
  making: string[]
}

const SUFFIX = '.json'
/** Of a file that is not ready. */
const UNREADY = '.new'
const NEVER = new AbortController().signal

const isMissing = (error: unknown): boolean => errorCode(error) === 'ENOENT'

/** Names from outside are no file names. */
const fileName = (id: string): string => `${createHash('sha256').update(id).digest('hex')}${SUFFIX}`

const textsOf = (value: unknown, ...keys: string[]): string[] | undefined => {
  const texts = keys.map((key) => own(value, key)).filter((text) => typeof text === 'string')
  return texts.length === keys.length ? texts : undefined
}

const readRecord = (value: unknown): VolumeRecord | undefined => {
  const [volumeId, target, volumeName] = textsOf(value, 'volumeId', 'target', 'volumeName') ?? []
  const [namespace, name, uid] = textsOf(own(value, 'pod'), 'namespace', 'name', 'uid') ?? []
  const kind = own(value, 'kind')
  if (volumeId === undefined || target === undefined || volumeName === undefined || namespace === undefined || name === undefined || uid === undefined) return undefined
  return kind === 'files' || kind === 'refused' ? { volumeId, target, volumeName, pod: { namespace, name, uid }, kind, started: own(value, 'started') === true } : undefined
}

const namesOf = (value: unknown): string[] | undefined => {
  const names: unknown[] = Array.isArray(value) ? value : [value]
  const texts = names.filter((name) => typeof name === 'string')
  return Array.isArray(value) && texts.length === names.length ? texts : undefined
}

const readAsked = (value: unknown): Asked | undefined => {
  const podUid = own(value, 'podUid')
  const connectors = namesOf(own(value, 'connectors'))
  const making = namesOf(own(value, 'making') ?? [])
  return typeof podUid !== 'string' || connectors === undefined || making === undefined ? undefined : { podUid, connectors, making }
}

interface Folder<T> {
  get(id: string): Promise<T | undefined>
  put(value: T): Promise<void>
  remove(id: string): Promise<void>
  all(): Promise<T[]>
}

interface FolderKind<T> {
  /** Begins a sentence of the log, e.g. "the record of a volume". */
  what: string
  idOf: (value: T) => string
  read: (value: unknown) => T | undefined
  /** Whether it shall outlive a loss of power; that costs a write to the disk itself. */
  durable: boolean
  /** One that is there and cannot be read: what the sentence for kubelet ends with. undefined: it counts as none. */
  unreadable?: string
}

/** Renames of it are known after a loss of power too. */
const syncFolder = async (path: string): Promise<void> => {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const openFolder = async <T>(path: string, logger: Logger, { what, idOf, read, durable, unreadable }: FolderKind<T>): Promise<Folder<T>> => {
  await mkdir(path, { recursive: true, mode: 0o700 })
  await chmod(path, 0o700)
  const names = await readdir(path)
  for (const name of names.filter((each) => each.endsWith(UNREADY))) await rm(join(path, name), { force: true })

  /** @returns the reason when it is there and cannot be read */
  const parse = async (name: string): Promise<{ value: T | undefined } | { reason: string }> => {
    try {
      const value = read(JSON.parse(await readFile(join(path, name), 'utf8')))
      return value !== undefined && fileName(idOf(value)) === name ? { value } : { reason: 'it holds something else' }
    } catch (error) {
      return isMissing(error) ? { value: undefined } : { reason: messageOf(error) }
    }
  }
  const orNone = async (name: string): Promise<T | undefined> => {
    const parsed = await parse(name)
    if ('value' in parsed) return parsed.value
    logger.error({ file: join(path, name), reason: parsed.reason }, `${what} cannot be read and is passed over`)
    return undefined
  }

  return {
    async get(id) {
      const name = fileName(id)
      if (unreadable === undefined) return orNone(name)
      const parsed = await parse(name)
      if ('value' in parsed) return parsed.value
      logger.error({ file: join(path, name), reason: parsed.reason }, `${what} cannot be read`)
      throw new CsiError('FAILED_PRECONDITION', `${what} cannot be read (${join(path, name)}); ${unreadable}`)
    },
    async put(value) {
      const file = join(path, fileName(idOf(value)))
      try {
        await writeFile(`${file}${UNREADY}`, `${JSON.stringify(value)}\n`, { mode: 0o600, flush: durable })
        await rename(`${file}${UNREADY}`, file)
        if (durable) await syncFolder(path)
      } catch (error) {
        throw new CsiError('INTERNAL', `${what} cannot be written to ${path}: ${messageOf(error)}; look at the node's disk`, { cause: error })
      }
    },
    async remove(id) {
      try {
        await rm(join(path, fileName(id)), { force: true })
      } catch (error) {
        throw new CsiError('INTERNAL', `${what} cannot be removed from ${path}: ${messageOf(error)}; look at the node's disk`, { cause: error })
      }
    },
    async all() {
      const files = (await readdir(path)).filter((name) => name.endsWith(SUFFIX)).toSorted()
      const values = await Promise.all(files.map(orNone))
      return values.filter((value) => value !== undefined)
    },
  }
}

/**
 * Records below a folder that nobody but its owner may enter. Each is a file of its own that is replaced by a rename.
 * @param stateDir made when it is not there
 */
export const openVolumeRecords = async (stateDir: string, logger: Logger): Promise<VolumeRecords> => {
  const volumes = await openFolder(join(stateDir, 'volumes'), logger, {
    what: 'the record of a volume',
    idOf: (record: VolumeRecord) => record.volumeId,
    read: readRecord,
    durable: false,
  })
  const asked = await openFolder(join(stateDir, 'asked'), logger, {
    what: 'the record of what a Pod asked for',
    idOf: (record: Asked) => record.podUid,
    read: readAsked,
    durable: true,
    unreadable: 'a request that was deleted would be made again, so there is none: start a new Pod, or remove that file from the node',
  })
  // Several volumes of one Pod may add theirs at once.
  const turns = createVolumeLocks()
  const change = (podUid: string, next: (now: Asked) => Asked): Promise<void> =>
    turns.run(podUid, NEVER, async () => {
      const now = (await asked.get(podUid)) ?? { podUid, connectors: [], making: [] }
      const changed = next(now)
      if (changed !== now) await asked.put(changed)
    })

  return {
    ...volumes,
    asked: async (podUid) => new Set((await asked.get(podUid))?.connectors),
    addAsked: (podUid, connector) =>
      change(podUid, (now) =>
        now.connectors.includes(connector) ? now : { podUid, connectors: [...now.connectors, connector], making: now.making.filter((name) => name !== connector) },
      ),
    addMaking: (podUid, connector) =>
      change(podUid, (now) => ([...now.connectors, ...now.making].includes(connector) ? now : { ...now, making: [...now.making, connector] })),
    askedPods: async () => (await asked.all()).map(({ podUid }) => podUid),
    forgetPod: (podUid) => turns.run(podUid, NEVER, () => asked.remove(podUid)),
  }
}
