/** The command line of the benchmark. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { Section } from './section.ts'

export interface BenchOptions {
  json: boolean
  quick: boolean
  sections: readonly Section[]
}

interface Flags {
  json?: true
  quick?: true
  only?: Section[]
}

const readNames =
  (sections: readonly Section[]) =>
  (text: string): Section[] => {
    const names = text.split(',')
    const unknown = names.filter((name) => !sections.some((section) => section.name === name))
    if (unknown.length > 0) throw new InvalidArgumentError(`There is no part named ${unknown.map((name) => JSON.stringify(name)).join(', ')}; there are ${sections.map(({ name }) => name).join(', ')}.`)
    return sections.filter(({ name }) => names.includes(name))
  }

/**
 * @param write where help and complaints go
 * @returns what is asked for, or the exit code when that was all
 */
export const readOptions = (sections: readonly Section[], args: readonly string[], write: { out: (text: string) => void; err: (text: string) => void }): BenchOptions | { exitCode: number } => {
  const width = Math.max(0, ...sections.map(({ name }) => name.length))
  const program = new Command('npm run bench --')
    .description(
      'Measures access-gate beside what people would use instead, on this machine, and prints a table. Numbers to judge by are ratios of the same run.\nA goal that is missed is said, and is no failure: the exit code is 1 only when something could not be measured.\nAll of it takes about twenty-five minutes, csi six to eight of them. What this machine cannot do is skipped, and said.',
    )
    .option('--json', 'the same as one JSON object in the last line')
    .option('--quick', 'fewer rounds: about seven minutes, and wider spreads')
    .addOption(new Option('--only <names>', 'these parts alone, joined by commas').argParser(readNames(sections)))
    .addHelpText('after', `\nParts:\n${sections.map(({ name, title }) => `  ${name.padEnd(width)}  ${title}`).join('\n')}`)
    .allowExcessArguments(false)
    .showHelpAfterError('(add --help for the options)')
    .configureOutput({ writeOut: write.out, writeErr: write.err })
    .exitOverride()
  try {
    const { json, quick, only } = program.parse(args, { from: 'user' }).opts<Flags>()
    return { json: json === true, quick: quick === true, sections: only ?? sections }
  } catch (error) {
    if (error instanceof CommanderError) return { exitCode: error.exitCode }
    throw error
  }
}
