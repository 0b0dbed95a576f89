/** How a story is told: a real kubectl command for each step, or a question over HTTP, what was said, and whether that is what was told. */
import { relative } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ClusterAccess, KubectlResult } from '../control-plane/cluster-access.ts'
import { ROOT } from '../project.ts'
import { unlessAborted } from './ending.ts'

export interface Stage {
  cluster: Pick<ClusterAccess, 'kubectl'>
  print: (line: string) => void
  signal: AbortSignal
  /** How long one command may take, milliseconds; default 60 s, more than any of them waits. */
  boundMs?: number
}

/** What curl would ask. */
export interface HttpQuestion {
  url: string
  headers: Readonly<Record<string, string>>
}

export interface Step {
  title: string
  /** Of kubectl. */
  args: string[]
  /** Asked in place of kubectl; made when its turn has come, as it may hold what an earlier step heard. An answer from 400 on counts as a failure. */
  curl?: () => HttpQuestion
  /** Told what was said, with its tokens. */
  heard?: (output: string) => void
  /** What must come out: words in the output, all of it, and whether kubectl is to fail. */
  expect: { fails?: boolean; says?: string[]; saysNot?: string[]; exactly?: string }
  /** The answer follows from a change that every part of the cluster learns of in its own time: ask again for so many milliseconds. */
  within?: number
  /** What is made of kubectl's output before it is shown and judged. */
  digest?: (output: string) => string
}

const BOUND_MS = 120_000
const ASK_AGAIN_MS = 100

/** A JSON Web Token; what is shown may end up in a log. */
const TOKEN = /eyJ[\w-]+\.[\w-]+\.[\w-]+/g

const outputOf = ({ stdout, stderr }: KubectlResult, { digest = (output) => output }: Step): string => digest(`${stdout}${stderr}`).trimEnd()

const problemOf = (step: Step, result: KubectlResult): string | undefined => {
  const { fails = false, says = [], saysNot = [], exactly } = step.expect
  const output = outputOf(result, step)
  if (fails !== (result.code !== 0)) return fails ? 'it was to be refused, and was not' : `it failed with ${result.code}`
  if (exactly !== undefined && output !== exactly) return `it does not say ${JSON.stringify(exactly)} alone`
  const missing = says.find((words) => !output.includes(words))
  if (missing !== undefined) return `it does not say ${JSON.stringify(missing)}`
  const unwanted = saysNot.find((words) => output.includes(words))
  return unwanted === undefined ? undefined : `it says ${JSON.stringify(unwanted)}`
}

const isPath = (argument: string): boolean => argument.startsWith(`${ROOT}/`)

const shown = (argument: string): string => {
  const text = isPath(argument) ? relative(ROOT, argument) : argument
  return /^[\w./:=@,-]+$/.test(text) ? text : `'${text}'`
}

/** As `curl -i` shows it, without the headers that are the same for every answer. */
const askHttp = async ({ url, headers }: HttpQuestion, signal: AbortSignal): Promise<KubectlResult> => {
  const answer = await fetch(url, { headers, redirect: 'manual', signal })
  const told = ['location', 'set-cookie'].flatMap((name) => (answer.headers.has(name) ? [`${name}: ${answer.headers.get(name)}`] : []))
  const stdout = [`HTTP ${answer.status}`, ...told, await answer.text()].join('\n')
  return { stdout, stderr: '', code: answer.status < 400 ? 0 : 22 }
}

const commandOf = ({ args }: Step, question: HttpQuestion | undefined): string => {
  if (question === undefined) return `kubectl ${args.map(shown).join(' ')}`
  const headers = Object.entries(question.headers).map(([name, value]) => `-H ${shown(`${name}: ${value}`)}`)
  return `curl -i ${headers.join(' ')} ${shown(question.url)}`.replaceAll(TOKEN, '<token>')
}

/** @returns undefined when it took longer than the bound */
const ask = async ({ cluster, signal, boundMs = BOUND_MS }: Stage, { args }: Step, question: HttpQuestion | undefined): Promise<KubectlResult | undefined> => {
  const bound = AbortSignal.timeout(boundMs)
  const either = AbortSignal.any([signal, bound])
  try {
    return await (question === undefined ? cluster.kubectl(args, { allowFailure: true, signal: either }) : askHttp(question, either))
  } catch (error) {
    signal.throwIfAborted()
    if (bound.aborted) return undefined
    throw error
  }
}

const play = async (stage: Stage, step: Step): Promise<string | undefined> => {
  const { print, signal, boundMs = BOUND_MS } = stage
  signal.throwIfAborted()
  print(`\n# ${step.title}`)
  const question = step.curl?.()
  print(`$ ${commandOf(step, question)}`)
  const until = Date.now() + (step.within ?? 0)
  let result = await ask(stage, step, question)
  while (result !== undefined && problemOf(step, result) !== undefined && Date.now() < until) {
    await unlessAborted(signal, delay(ASK_AGAIN_MS))
    result = await ask(stage, step, question)
  }
  if (result !== undefined) step.heard?.(outputOf(result, step))
  const output = result === undefined ? '' : outputOf(result, step).replaceAll(TOKEN, '<token>')
  if (output !== '') print(output)
  const problem = result === undefined ? `it did not end within ${boundMs / 1000} s` : problemOf(step, result)
  print(problem === undefined ? '=> as told' : `=> NOT as told: ${problem}`)
  return problem === undefined ? undefined : step.title
}

/** Plays all steps, also after one that failed. @returns the titles of those that came out otherwise @throws the signal's reason */
export const playSteps = async (stage: Stage, steps: readonly Step[]): Promise<string[]> => {
  const failed: string[] = []
  for (const step of steps) {
    const title = await play(stage, step)
    if (title !== undefined) failed.push(title)
  }
  return failed
}
