import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { containerLog, readContainerLog } from '../../../hack/node/container-log.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const TEXTS: Record<string, { file: string[]; said: string }> = {
  'lines of both streams': { file: ['2026-01-02T03:04:05.6Z stdout F one', '2026-01-02T03:04:05.7Z stderr F two'], said: 'one\ntwo\n' },
  'an empty line, and one with blanks': { file: ['2026-01-02T03:04:05.6Z stdout F ', '2026-01-02T03:04:05.7Z stdout F   a  b '], said: '\n  a  b \n' },
  'a long line in pieces': { file: ['2026-01-02T03:04:05.6Z stdout P lo', '2026-01-02T03:04:05.6Z stdout P n', '2026-01-02T03:04:05.6Z stdout F g'], said: 'long\n' },
  'nothing yet': { file: [''], said: '' },
}

for (const [sentence, { file, said }] of Object.entries(TEXTS))
  await test(`what a container said: ${sentence}`, (t) => {
    t.equal(readContainerLog(`${file.join('\n')}\n`), said)
    t.end()
  })

await test('all starts of a container are told, in the order of time', async (t) => {
  const folder = await temporaryFolder(t)
  const container = join(folder, 'cicd_build_uid-1', 'main')
  await mkdir(container, { recursive: true })
  await writeFile(join(container, '10.log'), '2026-01-02T05:00:00Z stdout F third\n')
  await writeFile(join(container, '0.log'), '2026-01-02T03:00:00Z stdout F first\n')
  await writeFile(join(container, '2.log'), '2026-01-02T04:00:00Z stdout F second\n')
  t.equal(await containerLog(folder, { namespace: 'cicd', name: 'build', container: 'main' }), 'first\nsecond\nthird\n')
  t.equal(await containerLog(folder, { namespace: 'cicd', name: 'other', container: 'main' }), '')
})
