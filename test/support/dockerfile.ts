/** The Dockerfile, as tests read it. It keeps to one instruction a line. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

export interface Instruction {
  /** In capitals. */
  name: string
  text: string
}

export interface Stage {
  /** As it stands in FROM, variables not replaced. */
  from: string
  /** Empty for the last one. */
  name: string
  instructions: Instruction[]
}

export interface Dockerfile {
  /** Defaults of the ARGs before the first stage. */
  args: Record<string, string>
  stages: Stage[]
}

export interface Copy {
  /** Name of a stage; undefined: the build context. */
  from: string | undefined
  sources: string[]
  target: string
}

export const ROOT = resolve(import.meta.dirname, '../..')

/** @throws Error for what this reader does not know */
export const parseDockerfile = (text: string): Dockerfile => {
  const file: Dockerfile = { args: {}, stages: [] }
  for (const line of text.split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const [, name, rest = ''] = /^([A-Z]+) (.+)$/.exec(line) ?? []
    if (name === undefined || rest.endsWith('\\')) throw new Error(`not one instruction on one line: ${line}`)
    const stage = file.stages.at(-1)
    if (name === 'FROM') {
      const [from = '', , stageName = ''] = rest.split(/\s+/)
      file.stages.push({ from, name: stageName, instructions: [] })
    } else if (stage !== undefined) stage.instructions.push({ name, text: rest })
    else {
      const [variable = '', value = ''] = rest.split('=')
      file.args[variable] = value
    }
  }
  return file
}

export const readDockerfile = async (): Promise<Dockerfile> => parseDockerfile(await readFile(join(ROOT, 'Dockerfile'), 'utf8'))

export const copiesOf = ({ instructions }: Stage): Copy[] =>
  instructions
    .filter(({ name }) => name === 'COPY')
    .map(({ text }) => {
      const words = text.split(/\s+/)
      const [flag = ''] = words
      const from = flag.startsWith('--from=') ? flag.slice('--from='.length) : undefined
      const paths = from === undefined ? words : words.slice(1)
      return { from, sources: paths.slice(0, -1), target: paths.at(-1) ?? '' }
    })

/** The value of an instruction in exec form; undefined when it is not there. */
export const execForm = ({ instructions }: Stage, name: string): string[] | undefined => {
  const found = instructions.findLast((instruction) => instruction.name === name)
  return found === undefined ? undefined : JSON.parse(found.text)
}
