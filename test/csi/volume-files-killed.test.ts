import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { t as file, test } from 'tap'
import { plainFiles } from '../../src/csi/volume-files.ts'
import { openVolumeRecords } from '../../src/csi/volume-records.ts'
import { filesOf, targetOf, volumeProblem, VOLUMES } from '../support/churned-volumes.ts'
import { logLines } from '../support/log-lines.ts'
import { kill, startScript } from '../support/processes.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

file.setTimeout(5 * 60_000)

const KILLS = 50
/** Milliseconds after the first write: spread over several rounds of all that is done to a volume. */
const momentOf = (index: number): number => (index * 7) % 53

await test(`a plugin that is killed ${KILLS} times in the middle of its writes never leaves a record without whole files, nor what a later write does not repair`, async (t) => {
  const folder = await temporaryFolder(t)
  const seen = { 'on record': 0, 'filled, not on record': 0, 'nothing there': 0, 'half-made': 0 }
  for (let index = 0; index < KILLS; index += 1) {
    const { child } = await startScript(join(import.meta.dirname, '../support/churned-volumes.ts'), [folder])
    await delay(momentOf(index))
    await kill(child, 'SIGKILL')
    if (child.signalCode !== 'SIGKILL') return t.fail('the process ended by itself')

    const { log, lines } = logLines()
    const records = await openVolumeRecords(join(folder, 'state'), log)
    const onRecord = await records.all()
    for (const { volumeId, target } of onRecord) {
      const problem = await volumeProblem(target)
      if (problem !== undefined) return t.fail(`after kill ${index} volume ${volumeId} is on record, and ${problem}`)
    }
    if (lines.length > 0) return t.fail(`after kill ${index} the log says`, { lines })

    for (const volume of VOLUMES) {
      const target = targetOf(folder, volume)
      const isKnown = onRecord.some(({ volumeId }) => volumeId === volume)
      const beside = await readdir(join(folder, 'volumes', volume))
      const names = (await plainFiles.look(target)) ?? []
      seen[isKnown ? 'on record' : names.length > 0 ? 'filled, not on record' : 'nothing there'] += 1
      if (beside.some((name) => name !== 'mount')) seen['half-made'] += 1
      // What is left of every other kill is for the next process to go on from.
      if (index % 2 === 0) continue
      const files = filesOf(index)
      await plainFiles.write(target, files, undefined)
      const found = await Promise.all([...files.keys()].map((name) => readFile(join(target, name), 'utf8')))
      t.strictSame(await plainFiles.look(target), [...files.keys()].toSorted())
      t.ok(found.every((content, at) => content === [...files.values()][at]), `volume ${volume} is whole again`)
      t.strictSame(await readdir(join(folder, 'volumes', volume)), ['mount'])
      t.strictSame((await readdir(target)).toSorted(), [...files.keys()].toSorted())
      if (index % 4 !== 1) continue
      await records.remove(volume)
      await plainFiles.remove(target)
      t.strictSame(await readdir(join(folder, 'volumes', volume)), [])
    }
  }
  t.comment(`volumes as they were found: ${JSON.stringify(seen)}`)
  t.ok(seen['on record'] > 0 && seen['filled, not on record'] > 0, 'the kills came at different moments')
})
