/** `npm run check`: everything that is checked without running the program. All steps run, also when one fails. */
import { messageOf } from '../src/errors.ts'
import { run } from './control-plane/run.ts'
import { ROOT, toolPath, withOurNode } from './project.ts'

const HELP = `Usage: npm run check

Checks, each with a verdict of its own:
  types            TypeScript's compiler
  lint             oxlint with type information; it also holds the import direction (.oxlintrc.json)
  generated files  what hack/generate writes is what is in the tree (npm run generate makes it so)
`

interface Step {
  name: string
  command: string
  args: string[]
}

const STEPS: Step[] = [
  { name: 'types', command: toolPath('tsc'), args: ['-p', '.'] },
  { name: 'lint and import direction', command: toolPath('oxlint'), args: ['--type-aware', '--deny-warnings'] },
  { name: 'generated files', command: process.execPath, args: ['hack/generate/main.ts', '--verify'] },
]

const print = (text: string): void => void process.stdout.write(`${text}\n`)

const passes = async ({ name, command, args }: Step): Promise<boolean> => {
  const start = Date.now()
  const { code, stdout, stderr } = await run(command, args, { cwd: ROOT, env: { ...withOurNode(process.env), NO_COLOR: '1' } }).catch((error: unknown) => ({
    code: 1,
    stdout: '',
    stderr: messageOf(error),
  }))
  const output = `${stdout}${stderr}`.trimEnd()
  if (code !== 0 && output !== '') print(output)
  print(`${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`)
  return code === 0
}

if (process.argv.includes('--help')) process.stdout.write(HELP)
else {
  const verdicts = await Promise.all(STEPS.map(passes))
  const failed = STEPS.filter((_step, index) => verdicts[index] !== true).map(({ name }) => name)
  print(failed.length === 0 ? 'all checks passed' : `failed: ${failed.join('; ')}`)
  process.exitCode = failed.length === 0 ? 0 : 1
}
