import { test } from 'tap'
import { countsComment } from '../../../hack/test-run/counts.ts'
import { createReport } from '../../../hack/test-run/report.ts'
import { untilTrue } from '../../support/eventually.ts'

/** What tap says of: two files that passed, one with a failed assertion, one that crashed after its tests passed, one that did not load. */
const STREAM = `TAP version 14
# Subtest: test/a.test.ts
    # Subtest: adds
        ok 1 - one and one
        ok 2 - one and two
        1..2
    ok 1 - adds # time=1ms
    ok 2 - later # SKIP not on this platform
    1..2
ok 1 - test/a.test.ts # time=1500ms

# Subtest: test/b.test.ts
    # Subtest: subtracts
        ok 1 - fine
        not ok 2 - two minus one
          ---
          found: 0
          wanted: 1
          ...
        1..2
    not ok 1 - subtracts # time=1ms
    1..1
not ok 2 - test/b.test.ts # time=20ms

# Subtest: test/c.test.ts
    ok 1 - passed before the crash
    1..1
not ok 3 - test/c.test.ts # time=30ms
  ---
  exitCode: 3
  ...

# Subtest: test/d.test.ts
    1..0 # no tests found
not ok 4 - test/d.test.ts # time=40ms

1..4
`

await test('assertions are counted, and a file that crashes or does not load has failed', async (t) => {
  const lines: string[] = []
  const report = createReport((line) => lines.push(line))
  for (const piece of STREAM.match(/[^]{1,7}/g) ?? []) report.write(piece)
  t.strictSame(report.end(), { passed: 4, failed: 3, skipped: 1 })
  t.strictSame(
    lines.filter((line) => /^(ok|FAIL)/.test(line)),
    [
      'ok   test/a.test.ts  2 passed, 0 failed, 1.5 s',
      'FAIL test/b.test.ts  1 passed, 1 failed, 0.0 s',
      'FAIL test/c.test.ts  1 passed, 1 failed, 0.0 s',
      'FAIL test/d.test.ts  0 passed, 1 failed, 0.0 s',
    ],
  )
})

await test('a failure is shown with the test that it is in and what was found', async (t) => {
  const lines: string[] = []
  const report = createReport((line) => lines.push(line))
  report.write(STREAM)
  report.end()
  const text = lines.join('\n')
  t.match(text, /✗ test\/b\.test\.ts > subtracts > two minus one\n\s+found: 0\n\s+wanted: 1/)
  t.match(text, /✗ test\/c\.test\.ts\n\s+exitCode: 3/)
})

await test('a runner that says nothing has counted nothing', async (t) => {
  t.strictSame(createReport(() => undefined).end(), { passed: 0, failed: 0, skipped: 0 })
})

await test('what a test has counted is shown with its name, as it comes', async (t) => {
  const lines: string[] = []
  const report = createReport((line) => lines.push(line))
  report.write(`TAP version 14\n# Subtest: test/faults/a.test.ts\n    # an ordinary comment\n    # Subtest: it is killed\n`)
  report.write(`        # ${countsComment({ requests: 200, kills: 3, slowest: '9.7 s' })}\n`)
  t.strictSame(lines, ['  # it is killed: requests 200, kills 3, slowest 9.7 s'])
  report.write('        ok 1 - fine\n        1..1\n    ok 1 - it is killed # time=1ms\n    1..1\nok 1 - test/faults/a.test.ts # time=20ms\n1..1\n')
  t.strictSame(report.end(), { passed: 1, failed: 0, skipped: 0 })
})

await test('a test that takes long is named while it runs, and no other', async (t) => {
  const lines: string[] = []
  const report = createReport((line) => lines.push(line), 20)
  report.write('TAP version 14\n# Subtest: test/faults/a.test.ts\n    # Subtest: quick\n        ok 1 - fine\n        1..1\n    ok 1 - quick # time=1ms\n')
  report.write('    # Subtest: slow\n        ok 1 - so far\n')
  await untilTrue('both are named', () => lines.length === 2)
  t.strictSame(lines, ['  … test/faults/a.test.ts', '  … slow'])
  report.write('        1..1\n    ok 2 - slow # time=1ms\n    1..2\nok 1 - test/faults/a.test.ts # time=20ms\n1..1\n')
  t.strictSame(report.end(), { passed: 2, failed: 0, skipped: 0 })
})
