/** What a run says in the end: a table to read, and one JSON object for programs. Pure. */
import type { Figure, Goal, Section } from './section.ts'

export interface SectionResult {
  section: Pick<Section, 'title' | 'keys'>
  figures: readonly Figure[]
}

export type Verdict = 'met' | 'MISSED'

const isMet = (value: number, goal: Goal): boolean => ('atMost' in goal ? value <= goal.atMost : value >= goal.atLeast)

/** undefined: there was no goal. */
export const verdictOf = ({ value, goal }: Figure): Verdict | undefined => (goal === undefined ? undefined : isMet(value, goal) ? 'met' : 'MISSED')

/** Four digits say more than these measurements know. */
const rounded = (value: number): number => Number(value.toPrecision(4))

const shownNumber = (value: number): string => String(Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(3)))

const UNIT_TEXT: Readonly<Record<string, string>> = {
  us_per_request: 'µs/request',
  us_per_pod: 'µs/Pod',
  per_second: '/s',
  percent: '%',
  ratio: 'times',
  mb: 'MB',
  count: '',
}

const shownValue = ({ value, unit }: Figure): string => `${shownNumber(value)} ${UNIT_TEXT[unit] ?? unit}`.trimEnd()

const shownGoal = (goal: Goal): string => ('atMost' in goal ? `at most ${shownNumber(goal.atMost)}` : `at least ${shownNumber(goal.atLeast)}`)

const cellsOf = (figure: Figure): string[] => {
  const { label, goal, note } = figure
  const verdict = verdictOf(figure)
  return [label, shownValue(figure), goal === undefined || verdict === undefined ? '' : `${shownGoal(goal)}: ${verdict}`, note ?? '']
}

/** Figures under the titles of their sections, columns in line; a goal that is missed says so in capitals. */
export const tableLines = (results: readonly SectionResult[]): string[] => {
  const rows = results.flatMap(({ figures }) => figures.map(cellsOf))
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((cells) => cells[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, column) => (column === 1 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ')}`.trimEnd()
  return results.flatMap(({ section, figures }, index) => [...(index === 0 ? [] : ['']), section.title, ...figures.map((figure) => line(cellsOf(figure)))])
}

/** How many goals there were, and which of them were missed. */
export const goalsLine = (results: readonly SectionResult[]): string => {
  const judged = results.flatMap(({ figures }) => figures).filter((figure) => figure.goal !== undefined)
  const missed = judged.filter((figure) => verdictOf(figure) === 'MISSED')
  if (judged.length === 0) return 'no goals here'
  return missed.length === 0
    ? `all ${judged.length} goals are met`
    : `${missed.length} of ${judged.length} goals are MISSED: ${missed.map(({ label }) => label).join('; ')}`
}

/** Flat: the key of each figure with its value, and how many goals were met. */
export const jsonLine = (results: readonly SectionResult[], seconds: number): string => {
  const figures = results.flatMap((result) => result.figures)
  const verdicts = figures.map(verdictOf)
  const count = (verdict: Verdict): number => verdicts.filter((one) => one === verdict).length
  return JSON.stringify({
    ...Object.fromEntries(figures.map(({ key, value }) => [key, rounded(value)])),
    goals_met_count: count('met'),
    goals_missed_count: count('MISSED'),
    run_s: rounded(seconds),
  })
}

const KEY = /^[a-z][a-z0-9]*(_[a-z0-9]+)+$/

/** What is wrong with the figures of a section, as one sentence; undefined when nothing is: they are exactly those that it announced. */
export const figuresProblem = (section: Pick<Section, 'keys' | 'keysNotInQuick'>, figures: readonly Figure[], quick: boolean): string | undefined => {
  const keys = section.keys.filter((key) => !quick || section.keysNotInQuick?.includes(key) !== true)
  const got = figures.map(({ key }) => key)
  if (got.join() !== keys.join()) return `the figures are not the announced ones: announced ${keys.join(', ')}; measured ${got.join(', ')}`
  for (const { key, unit, value } of figures) {
    if (!KEY.test(key) || !key.endsWith(`_${unit}`)) return `the key ${key} does not end with its unit ${unit}`
    if (!Number.isFinite(value)) return `${key} is no number`
  }
  return undefined
}
