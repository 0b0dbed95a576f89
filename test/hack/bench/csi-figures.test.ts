import { test } from 'tap'
import { firstWordAt } from '../../../hack/bench/csi-pods.ts'
import { sampleOf } from '../../../hack/bench/csi-metrics.ts'
import { CSI } from '../../../hack/bench/csi.ts'

const logs: Record<string, { log: string; want: number | undefined }> = {
  'the time of the first line, to the millisecond': {
    log: '2026-03-01T12:00:00.123456789Z stdout F {"path":"/connectors/context.token"}\n2026-03-01T12:00:05.000000000Z stdout F more\n',
    want: Date.UTC(2026, 2, 1, 12, 0, 0, 123),
  },
  'the time of a machine that is not in UTC': { log: '2026-03-01T13:30:00.5+01:30 stderr P a piece', want: Date.UTC(2026, 2, 1, 12, 0, 0, 500) },
  'nothing was said yet': { log: '', want: undefined },
  'no log of a container': { log: 'some other text\n', want: undefined },
}

for (const [title, { log, want }] of Object.entries(logs)) {
  await test(`the first word of a container: ${title}`, async (t) => t.equal(firstWordAt(log), want))
}

const text = '# HELP waiting_mounts now\nwaiting_mounts 12\nwaiting_mounts_total 13\nvolumes{kind="files"} 100\n'

const samples: Record<string, { name: string; want: number | undefined }> = {
  'a plain one': { name: 'waiting_mounts', want: 12 },
  'one with labels': { name: 'volumes{kind="files"}', want: 100 },
  'one that is not there': { name: 'volumes', want: undefined },
}

for (const [title, { name, want }] of Object.entries(samples)) {
  await test(`a sample of /metrics: ${title}`, async (t) => t.equal(sampleOf(text, name), want))
}

await test('what a quick run leaves out is announced', async (t) => {
  t.ok((CSI.keysNotInQuick ?? []).length > 0)
  t.strictSame((CSI.keysNotInQuick ?? []).filter((key) => !CSI.keys.includes(key)), [])
})
