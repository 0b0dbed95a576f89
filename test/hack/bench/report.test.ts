import { test } from 'tap'
import { figuresProblem, goalsLine, jsonLine, tableLines, verdictOf } from '../../../hack/bench/report.ts'
import type { Figure } from '../../../hack/bench/section.ts'

const cpu: Figure = { key: 'validate_cpu_us_per_request', label: 'validate: CPU', value: 187.4321, unit: 'us_per_request', note: '180 to 201 in 5 rounds' }
const met: Figure = { key: 'cpu_to_bare_ratio', label: 'CPU to bare', value: 1.25, unit: 'ratio', goal: { atMost: 1.25 } }
const missed: Figure = { key: 'controller_rss_mb', label: 'RSS of the controller', value: 312.5, unit: 'mb', goal: { atMost: 300 }, note: 'after 60 s' }
const speed: Figure = { key: 'speed_per_second', label: 'throughput', value: 4170.6, unit: 'per_second' }

const sectionOf = (title: string, figures: Figure[]) => ({ section: { title, keys: figures.map(({ key }) => key) }, figures })

const verdicts: Record<string, { figure: Figure; want: string | undefined }> = {
  'no goal, no verdict': { figure: cpu, want: undefined },
  'a goal is met by the very number': { figure: met, want: 'met' },
  'more is a miss': { figure: { ...met, value: 1.2500001 }, want: 'MISSED' },
  'a number below zero meets a goal of zero': { figure: { ...met, value: -0.1, goal: { atMost: 0 } }, want: 'met' },
  'a goal of at least so much is met by the very number': { figure: { ...speed, goal: { atLeast: 4170.6 } }, want: 'met' },
  'less than that is a miss': { figure: { ...speed, goal: { atLeast: 4171 } }, want: 'MISSED' },
  'what is no number meets nothing': { figure: { ...met, value: Number.NaN }, want: 'MISSED' },
}

for (const [title, { figure, want }] of Object.entries(verdicts)) {
  await test(`verdict: ${title}`, async (t) => t.equal(verdictOf(figure), want))
}

await test('the table has a line for each figure under the title of its section, with value, unit, goal, verdict and note', async (t) => {
  t.strictSame(tableLines([sectionOf('Admission', [cpu, met, speed]), sectionOf('Controller', [missed])]), [
    'Admission',
    '  validate: CPU          187 µs/request                       180 to 201 in 5 rounds',
    '  CPU to bare                1.25 times  at most 1.25: met',
    '  throughput                    4171 /s',
    '',
    'Controller',
    '  RSS of the controller          313 MB  at most 300: MISSED  after 60 s',
  ])
  t.match(tableLines([sectionOf('Reviews', [{ ...speed, goal: { atLeast: 500 } }])]), ['Reviews', '  throughput  4171 /s  at least 500: met'])
})

await test('the goals are counted, and those that were missed are named', async (t) => {
  t.equal(goalsLine([sectionOf('Admission', [cpu])]), 'no goals here')
  t.equal(goalsLine([sectionOf('Admission', [cpu, met])]), 'all 1 goals are met')
  t.equal(goalsLine([sectionOf('Admission', [cpu, met]), sectionOf('Controller', [missed])]), '1 of 2 goals are MISSED: RSS of the controller')
})

await test('the JSON is one flat line with a key for each figure', async (t) => {
  const line = jsonLine([sectionOf('Admission', [cpu, met]), sectionOf('Controller', [missed])], 12.3456)
  t.notMatch(line, '\n')
  t.strictSame(JSON.parse(line), {
    validate_cpu_us_per_request: 187.4,
    cpu_to_bare_ratio: 1.25,
    controller_rss_mb: 312.5,
    goals_met_count: 1,
    goals_missed_count: 1,
    run_s: 12.35,
  })
})

const problems: Record<string, { keys: string[]; figures: Figure[]; want: RegExp | undefined }> = {
  'exactly the announced figures': { keys: [cpu.key, met.key], figures: [cpu, met], want: undefined },
  'one is missing': { keys: [cpu.key, met.key], figures: [cpu], want: /^the figures are not the announced ones: announced validate_cpu_us_per_request, cpu_to_bare_ratio; measured validate_cpu_us_per_request$/ },
  'one is not announced': { keys: [cpu.key], figures: [cpu, met], want: /not the announced ones/ },
  'another order': { keys: [met.key, cpu.key], figures: [cpu, met], want: /not the announced ones/ },
  'a key without its unit': { keys: ['cpu_to_bare'], figures: [{ ...met, key: 'cpu_to_bare' }], want: /^the key cpu_to_bare does not end with its unit ratio$/ },
  'a key in another spelling': { keys: ['cpuToBare_ratio'], figures: [{ ...met, key: 'cpuToBare_ratio' }], want: /does not end with its unit/ },
  'a value that is no number': { keys: [met.key], figures: [{ ...met, value: Number.NaN }], want: /^cpu_to_bare_ratio is no number$/ },
}

for (const [title, { keys, figures, want }] of Object.entries(problems)) {
  await test(`figures of a section: ${title}`, async (t) => {
    const problem = figuresProblem({ keys }, figures, false)
    if (want === undefined) t.equal(problem, undefined)
    else t.match(problem, want)
  })
}
