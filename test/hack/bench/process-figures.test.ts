import { test } from 'tap'
import { cpuOfStat, rssOfStatus } from '../../../hack/bench/process-figures.ts'

const stat = (name: string): string => `4711 (${name}) S 4700 4711 4700 0 -1 4194304 5120 0 3 0 137 21 5 6 20 0 11 0 123456 1000000 20000 18446744073709551615`

const names: Record<string, string> = {
  'a plain name': 'node',
  'a name with spaces': 'MainThread of it',
  'a name with brackets': 'a) S 1 (b',
}

for (const [title, name] of Object.entries(names)) {
  await test(`processor time is user and system time in microseconds: ${title}`, async (t) => t.equal(cpuOfStat(stat(name)), 1_580_000))
}

await test('resident memory is read in bytes', async (t) => {
  t.equal(rssOfStatus('Name:\tnode\nVmPeak:\t  900000 kB\nVmRSS:\t   85000 kB\nThreads:\t11\n'), 85_000 * 1024)
})

await test('what is something else is an error, not a number', async (t) => {
  t.throws(() => cpuOfStat('no line of the kernel'), { message: 'this is no line of /proc/<pid>/stat' })
  t.throws(() => rssOfStatus('Name:\tzombie\n'), { message: 'this is no /proc/<pid>/status of a running process' })
})
