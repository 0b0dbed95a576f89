import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { runSections, type RunServices } from '../../../hack/bench/run.ts'
import { SectionSkipped, type BenchEnv, type Figure, type Section } from '../../../hack/bench/section.ts'
import type { ControlPlane } from '../../../hack/control-plane/start.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const figure: Figure = { key: 'wait_ms', label: 'wait', value: 3, unit: 'ms' }

const sectionOf = (name: string, run: (env: BenchEnv) => Promise<Figure[]>): Section => ({ name, title: `about ${name}`, keys: [figure.key], run })

const good = (name: string): Section => sectionOf(name, async () => [figure])

/** Services that write down what is asked of them. */
const stage = async (t: Test) => {
  const happened: string[] = []
  const lines: string[] = []
  const ending = new AbortController()
  let clusters = 0
  const services: RunServices = {
    startControlPlane: async () => {
      clusters += 1
      const name = `cluster ${clusters}`
      happened.push(`${name} starts`)
      // Sections of these tests use nothing else of it.
      return { server: name, stop: async () => void happened.push(`${name} stops`) } as ControlPlane
    },
    bundle: async () => 'access-gate.js',
    guard: {
      start: async ({ name, logFile }) => {
        happened.push(`${name} starts, log ${logFile.split('/').slice(-2).join('/')}`)
        return 42
      },
      stop: async (name) => void happened.push(`${name} stops`),
      exitOf: () => undefined,
    },
    folder: await temporaryFolder(t),
    quick: true,
    log: (line) => void lines.push(line.replace(/\d+ s$/, 'N s')),
    signal: ending.signal,
  }
  return { services, happened, lines, ending }
}

await test('sections run one after the other, each is announced and told when it is done', async (t) => {
  const { services, lines } = await stage(t)
  const [one, two] = [good('one'), good('two')]
  t.strictSame(await runSections([one, two], services), {
    results: [
      { section: one, figures: [figure] },
      { section: two, figures: [figure] },
    ],
    failed: [],
    skipped: [],
  })
  t.strictSame(lines, ['one: about one …', 'one: done in N s', 'two: about two …', 'two: done in N s'])
})

await test('a section gets its own folder and one control plane; both programs and control plane end with it, last started first', async (t) => {
  const { services, happened } = await stage(t)
  const user = sectionOf('user', async (env) => {
    t.equal(env.folder, join(services.folder, 'user'))
    t.ok(existsSync(env.folder))
    t.equal((await env.cluster()).server, (await env.cluster()).server)
    await env.start('first', 'node', ['first.js'])
    await env.start('second', 'node', ['second.js'])
    env.atEnd(() => void happened.push('closed'))
    env.atEnd(() => void happened.push('closed before'))
    return [figure]
  })
  await runSections([user, good('next')], services)
  t.strictSame(happened, [
    'cluster 1 starts',
    'user first starts, log user/first.log',
    'user second starts, log user/second.log',
    'closed before',
    'closed',
    'user second stops',
    'user first stops',
    'cluster 1 stops',
  ])
})

await test('a section that fails is told with its reason, what it started ends, and the others run', async (t) => {
  const { services, happened, lines } = await stage(t)
  const bad = sectionOf('bad', async (env) => {
    await env.cluster()
    throw new Error('the server did not come up')
  })
  const { results, failed } = await runSections([bad, good('next')], services)
  t.strictSame(failed, ['bad'])
  t.strictSame(results.map(({ section }) => section.title), ['about next'])
  t.strictSame(happened, ['cluster 1 starts', 'cluster 1 stops'])
  t.ok(lines.includes('bad: could not be measured: the server did not come up'))
})

await test('a section that this machine cannot do is told with its reason, which is no failure, and the others run', async (t) => {
  const { services, happened, lines } = await stage(t)
  const impossible = sectionOf('impossible', async (env) => {
    await env.cluster()
    throw new SectionSkipped('no node: kubelet needs root; run this as root')
  })
  const { results, failed, skipped } = await runSections([impossible, good('next')], services)
  t.strictSame({ failed, skipped, titles: results.map(({ section }) => section.title) }, { failed: [], skipped: ['impossible'], titles: ['about next'] })
  t.strictSame(happened, ['cluster 1 starts', 'cluster 1 stops'])
  t.ok(lines.includes('impossible: skipped: no node: kubelet needs root; run this as root'))
})

await test('a quick run goes without the figures that a section excepts, and a full one does not', async (t) => {
  const { services, lines } = await stage(t)
  const long: Section = { ...good('long'), keys: [figure.key, 'hours_ms'], keysNotInQuick: ['hours_ms'] }
  t.strictSame((await runSections([long], services)).failed, [])
  t.strictSame((await runSections([long], { ...services, quick: false })).failed, ['long'])
  t.match(lines.at(-1), /could not be measured: the figures are not the announced ones/)
})

await test('what cannot be closed is told, and the rest is closed all the same', async (t) => {
  const { services, happened, lines } = await stage(t)
  const stuck = sectionOf('stuck', async (env) => {
    await env.cluster()
    env.atEnd(() => Promise.reject(new Error('it hangs')))
    return [figure]
  })
  t.strictSame((await runSections([stuck], services)).failed, [])
  t.strictSame(happened, ['cluster 1 starts', 'cluster 1 stops'])
  t.ok(lines.includes('stuck did not end as it should: it hangs'))
})

await test('figures that were not announced make a failure of the section', async (t) => {
  const { services, lines } = await stage(t)
  const other = sectionOf('other', async () => [{ ...figure, key: 'other_ms' }])
  t.strictSame((await runSections([other], services)).failed, ['other'])
  t.match(lines[1], /could not be measured: the figures are not the announced ones/)
})

await test('an end by signal ends the run, closes what runs, and starts nothing more', async (t) => {
  const { services, happened, ending } = await stage(t)
  const ended = sectionOf('ended', async (env) => {
    await env.cluster()
    ending.abort(new Error('ended by SIGINT'))
    await env.start('late', 'node', [])
    return [figure]
  })
  const never = sectionOf('never', async () => {
    happened.push('it ran')
    return [figure]
  })
  await t.rejects(runSections([ended, never], services), new Error('ended by SIGINT'))
  t.strictSame(happened, ['cluster 1 starts', 'cluster 1 stops'])
})
