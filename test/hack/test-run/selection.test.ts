import { test } from 'tap'
import { run } from '../../../hack/control-plane/run.ts'
import { ROOT } from '../../../hack/project.ts'
import { countsLine, filesFor, judge, optionsFor, readArguments, selectFiles, unavailableLines, type Outcome } from '../../../hack/test-run/selection.ts'

await test('paths and options are told apart', async (t) => {
  t.strictSame(readArguments([]), { help: false, paths: [], options: [] })
  t.strictSame(readArguments(['test/core', '--jobs=1', '-b']), { help: false, paths: ['test/core'], options: ['--jobs=1', '-b'] })
  t.match(readArguments(['--help']), { help: true })
})

await test('what is named besides the folder of the fault runs is what is meant', async (t) => {
  t.strictSame(readArguments(['test/faults', '--jobs=1']).paths, ['test/faults'])
  t.strictSame(readArguments(['test/faults', '--jobs=1', 'test/faults/a.test.ts']).paths, ['test/faults/a.test.ts'])
  t.strictSame(readArguments(['./test/faults/', 'test/faults/{a,b}*.test.ts', '--bail']), { help: false, paths: ['test/faults/{a,b}*.test.ts'], options: ['--bail'] })
  t.strictSame(readArguments(['test/core', 'test/faults/a.test.ts']).paths, ['test/core', 'test/faults/a.test.ts'])
})

await test('fault runs get the time they need, unless another was asked for', async (t) => {
  t.strictSame(optionsFor(['--jobs=1'], { faults: [] }, false), ['--jobs=1'])
  t.strictSame(optionsFor(['--jobs=1'], { faults: ['test/faults/a.test.ts'] }, false), ['--jobs=1', '--timeout=1800'])
  t.strictSame(optionsFor(['--timeout=5'], { faults: ['test/faults/a.test.ts'] }, false), ['--timeout=5'])
  t.strictSame(optionsFor(['-t5'], { faults: ['test/faults/a.test.ts'] }, false), ['-t5'])
})

await test('in CI properties have one seed', async (t) => {
  const [seeded = ''] = optionsFor([], { faults: [] }, true)
  const [, module = ''] = /^--node-arg=(--import=\S+)$/.exec(seeded) ?? []
  const script = "import { readConfigureGlobal } from 'fast-check'; console.log(JSON.stringify(readConfigureGlobal()))"
  const said = async (...args: string[]): Promise<unknown> => JSON.parse((await run(process.execPath, [...args, '--input-type=module', '--eval', script], { cwd: ROOT })).stdout)
  t.strictSame(await said(module), { seed: 20_260_102 })
  t.strictSame(await said(), {})
})

const ALL = ['test/core/gate.test.ts', 'test/core/time.test.ts', 'test/hack/core/x.test.ts']

const PATHS: Record<string, { paths: string[]; files: string[]; missing?: string[] }> = {
  'no path is all': { paths: [], files: ALL },
  'a file': { paths: ['test/core/time.test.ts'], files: ['test/core/time.test.ts'] },
  'a file as a shell completes it': { paths: ['./test/core/time.test.ts'], files: ['test/core/time.test.ts'] },
  'a folder': { paths: ['test/core'], files: ['test/core/gate.test.ts', 'test/core/time.test.ts'] },
  'a folder with a slash': { paths: ['test/core/'], files: ['test/core/gate.test.ts', 'test/core/time.test.ts'] },
  'the folder of all': { paths: ['.'], files: ALL },
  'a glob': { paths: ['test/**/{x,gate}.test.ts'], files: ['test/core/gate.test.ts', 'test/hack/core/x.test.ts'] },
  'the beginning of a name is not the name': { paths: ['test/co'], files: [], missing: ['test/co'] },
  'one that is there, one that is not': { paths: ['test/hack', 'test/gone.test.ts'], files: ['test/hack/core/x.test.ts'], missing: ['test/gone.test.ts'] },
}

for (const [sentence, { paths, files, missing = [] }] of Object.entries(PATHS))
  await test(`which files: ${sentence}`, async (t) => {
    t.strictSame(filesFor(paths, ALL), { files, missing })
  })

await test('fault runs run only when they are named', async (t) => {
  const all = ['test/core/gate.test.ts', 'test/faults/crash.test.ts', 'test/faults/watch.test.ts']
  t.strictSame(filesFor([], all).files, ['test/core/gate.test.ts'])
  t.strictSame(filesFor(['test/faults'], all).files, ['test/faults/crash.test.ts', 'test/faults/watch.test.ts'])
  t.strictSame(filesFor(['test/faults/w*.test.ts'], all).files, ['test/faults/watch.test.ts'])
  t.strictSame(filesFor(['test'], all).files, all)
})

await test('what is in test/integration shares a control plane, fault runs, those with a kubelet and those with a browser have their own', async (t) => {
  t.strictSame(selectFiles(['test/core/gate.test.ts', 'test/integration/flow.test.ts', 'test/hack/integration/x.test.ts', 'test/faults/crash.test.ts', 'test/node/pod.test.ts', 'test/web/nginx.test.ts']), {
    integration: ['test/integration/flow.test.ts'],
    faults: ['test/faults/crash.test.ts'],
    nodes: ['test/node/pod.test.ts'],
    web: ['test/web/nginx.test.ts'],
    others: ['test/core/gate.test.ts', 'test/hack/integration/x.test.ts'],
  })
})

await test('the last line says what was counted', async (t) => {
  t.equal(countsLine({ passed: 12, failed: 0, skipped: 0 }), '12 passed, 0 failed')
  t.equal(countsLine({ passed: 12, failed: 1, skipped: 3 }), '12 passed, 1 failed, 3 skipped')
})

const VERDICTS: Record<string, { outcome: Partial<Outcome>; exitCode: number; failed: number }> = {
  'all passed': { outcome: {}, exitCode: 0, failed: 0 },
  'one failed': { outcome: { counts: { passed: 4, failed: 1, skipped: 0 }, runnerCode: 1 }, exitCode: 1, failed: 1 },
  'no test ran': { outcome: { counts: { passed: 0, failed: 0, skipped: 0 } }, exitCode: 1, failed: 1 },
  'only skipped tests': { outcome: { counts: { passed: 0, failed: 0, skipped: 5 } }, exitCode: 1, failed: 1 },
  'the runner failed although no test did': { outcome: { runnerCode: 1 }, exitCode: 1, failed: 1 },
  'a failure that the runner does not admit': { outcome: { counts: { passed: 4, failed: 1, skipped: 0 }, runnerCode: 0 }, exitCode: 1, failed: 1 },
  'no control plane on a desk': { outcome: { unavailable: 'no Go' }, exitCode: 0, failed: 0 },
  'no control plane in CI': { outcome: { unavailable: 'no Go', isCi: true }, exitCode: 1, failed: 1 },
  'no control plane in CI, and a failed test': {
    outcome: { unavailable: 'no Go', isCi: true, counts: { passed: 4, failed: 1, skipped: 0 }, runnerCode: 1 },
    exitCode: 1,
    failed: 2,
  },
  'no control plane on a desk, and nothing else to run': { outcome: { unavailable: 'no Go', counts: { passed: 0, failed: 0, skipped: 0 } }, exitCode: 1, failed: 1 },
}

for (const [sentence, { outcome, exitCode, failed }] of Object.entries(VERDICTS))
  await test(`verdict: ${sentence}`, async (t) => {
    const judged = judge({ counts: { passed: 5, failed: 0, skipped: 0 }, runnerCode: 0, isCi: false, ...outcome })
    t.equal(judged.exitCode, exitCode)
    t.equal(judged.counts.failed, failed)
  })

await test('integration tests that did not run are told loudly, with the reason and what to do', async (t) => {
  const text = unavailableLines(['test/integration/a.test.ts', 'test/faults/b.test.ts'], 'Go is not installed', true).join('\n')
  t.match(text, /The integration tests did NOT run: 2 file\(s\) in test\/integration\/ and test\/faults\/ need/)
  t.match(text, /Why: Go is not installed/)
  t.match(text, /npm run control-plane/)
  t.match(text, /CI=true: this counts as a failure/)
  t.notMatch(unavailableLines(['x'], 'y', false).join('\n'), /failure/)
  const node = unavailableLines(['test/node/a.test.ts'], 'no root', false, 'node').join('\n')
  t.match(node, /did NOT run: 1 file\(s\) in test\/node\/ need a real kubelet on this machine/)
  t.match(node, /Why: no root\nWhat to do: run "npm run node"/)
  const web = unavailableLines(['test/web/a.test.ts', 'test/web/b.test.ts'], 'chromium is not installed', true, 'web').join('\n')
  t.match(web, /did NOT run: 2 file\(s\) in test\/web\/ need nginx and Chromium/)
  t.match(web, /Why: chromium is not installed\nWhat to do: install them \("apt-get install --no-install-recommends nginx chromium" on Debian\)/)
})
