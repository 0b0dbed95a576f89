/** `npm run soak`: gated Pods come and go for half an hour; ends with a verdict. */
import { Command, InvalidArgumentError } from 'commander'
import { endingSignal } from '../../hack/sandbox/ending.ts'
import { messageOf } from '../../src/errors.ts'
import { soak } from './soak.ts'
import { describeRole } from './verdict.ts'

interface Options {
  minutes: number
  everyMs: number
  seed: number
}

const numberFrom =
  (least: number, most: number, isWhole: boolean) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !(value >= least && value <= most) || (isWhole && !Number.isInteger(value)))
      throw new InvalidArgumentError(`It must be a ${isWhole ? 'whole ' : ''}number from ${least} to ${most}.`)
    return value
  }

const print = (line: string): void => void process.stdout.write(`${line}\n`)

const run = async (options: Options): Promise<boolean> => {
  const { counts, roles, problems, seed } = await soak({ ...options, print, signal: endingSignal() })
  for (const [what, count] of Object.entries(counts).toSorted(([left], [right]) => left.localeCompare(right))) print(`${count.toString().padStart(7)}  ${what}`)
  for (const role of roles) print(describeRole(role))
  for (const problem of problems) print(`problem: ${problem}`)
  print(problems.length === 0 ? `soak passed (seed ${seed})` : `soak FAILED (seed ${seed})`)
  return problems.length === 0
}

const program = new Command('npm run soak --')
  .description('Runs webhook and controller as processes of their own on a real control plane while gated Pods are approved and end at random.')
  .option('--minutes <number>', 'how long Pods come', numberFrom(1, 24 * 60, false), 30)
  .option('--every-ms <number>', 'a Pod comes every so many milliseconds', numberFrom(50, 60_000, true), 500)
  .option('--seed <number>', 'what is random is the same for the same seed', numberFrom(0, 2 ** 32 - 1, true), 1)
  .allowExcessArguments(false)
  .showHelpAfterError('(add --help for the options)')

try {
  if (!(await run(program.parse().opts<Options>()))) process.exitCode = 1
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 1
}
