/** Volumes that a process of its own mounts, renews and unmounts until it is killed, and what must be true of them then. */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createLogger } from '../../src/log.ts'
import { plainFiles } from '../../src/csi/volume-files.ts'
import { openVolumeRecords, type VolumeRecord } from '../../src/csi/volume-records.ts'

export const VOLUMES = ['a', 'b', 'c']

export const targetOf = (folder: string, volume: string): string => join(folder, 'volumes', volume, 'mount')

/** Every version has files that the others have, and one that it alone has. */
const namesOf = (version: number): string[] => ['.env', 'context.token', 'ca.crt', `only-${version % 3}`]

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/** A file says of itself whether it is whole. The sizes go from less than a page to many. */
const contentOf = (version: number, name: string): string => {
  const text = `${version} ${name} ${'x'.repeat((version * 7_919) % 50_000)}`
  return `${hashOf(text)} ${text}`
}

const isWhole = (content: string): boolean => content.slice(0, 64) === hashOf(content.slice(65))

export const filesOf = (version: number): ReadonlyMap<string, string> => new Map(namesOf(version).map((name) => [name, contentOf(version, name)]))

export const recordOf = (folder: string, volumeId: string): VolumeRecord => ({
  volumeId,
  target: targetOf(folder, volumeId),
  volumeName: 'connectors',
  pod: { namespace: 'team', name: 'build', uid: 'u' },
  kind: 'files', started: false,
})

/** What is wrong with a volume on record: it must hold whole files, and all of at least one version. */
export const volumeProblem = async (target: string): Promise<string | undefined> => {
  const names = (await plainFiles.look(target)) ?? []
  const isComplete = [0, 1, 2].some((version) => namesOf(version).every((name) => names.includes(name)))
  if (!isComplete) return `it holds ${names.join(', ')} alone`
  for (const name of names) if (!isWhole(await readFile(join(target, name), 'utf8'))) return `${name} is half written`
  return undefined
}

/** As the plugin does it: the record comes after the files, and goes before them. */
const churn = async (folder: string): Promise<never> => {
  const records = await openVolumeRecords(join(folder, 'state'), createLogger({ level: 'silent' }))
  for (const volume of VOLUMES) await mkdir(join(folder, 'volumes', volume), { recursive: true })
  process.stdout.write('{"ready":true}\n')
  const live = async (volume: string, start: number): Promise<never> => {
    const target = targetOf(folder, volume)
    for (let version = start; ; version += 1) {
      await plainFiles.write(target, filesOf(version), undefined)
      await records.put(recordOf(folder, volume))
      await plainFiles.write(target, filesOf(version + 1), undefined)
      await records.remove(volume)
      await plainFiles.remove(target)
      const left = await readdir(join(folder, 'volumes', volume))
      if (left.length > 0) throw new Error(`left after a remove: ${left.join(', ')}`)
    }
  }
  return Promise.race(VOLUMES.map((volume, index) => live(volume, index)))
}

const [folder] = process.argv.slice(2)
if (import.meta.main && folder !== undefined) await churn(folder)
