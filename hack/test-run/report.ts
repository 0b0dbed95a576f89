/** Reads what the runner says: a line for each test file as it ends, what tests have counted, failures in full, and the counts. */
import { Parser, type Result } from 'tap-parser'
import { stringify } from 'yaml'
import { countsIn } from './counts.ts'
import type { Counts } from './selection.ts'

const indent = (text: string): string => text.trimEnd().replaceAll(/^/gm, '      ')

const describeFailure = (result: Result): string[] => {
  const lines = [`  ✗ ${result.fullname}`]
  if (result.diag !== null && typeof result.diag === 'object') lines.push(indent(stringify(result.diag)))
  return lines
}

const count = (counts: Counts, result: Result): void => {
  if (result.skip !== false || result.todo !== false) counts.skipped++
  else if (result.ok) counts.passed++
  else counts.failed++
}

/** A test that runs longer than this (milliseconds) is named while it runs. */
const SLOW_MS = 5_000

/**
 * Names the tests of a file that take long, and tells what they count. With one job tap says everything as it happens; with more
 * it says a file when that has ended, and no test seems to take long.
 */
const follow = (parser: Parser, print: (line: string) => void, slowMs: number): void => {
  parser.on('comment', (comment: string) => {
    const counted = countsIn(comment)
    if (counted !== undefined) print(`  # ${parser.name}: ${counted}`)
  })
  parser.on('child', (child: Parser) => {
    const timer = setTimeout(() => print(`  … ${child.name}`), slowMs)
    timer.unref()
    child.on('complete', () => clearTimeout(timer))
    follow(child, print, slowMs)
  })
}

export interface Report {
  write(text: string): void
  /** The counts, once the runner has ended. */
  end(): Counts
}

export const createReport = (print: (line: string) => void, slowMs = SLOW_MS): Report => {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
  const parser = new Parser()
  let total = { ...counts }
  const failures: Result[] = []
  parser.on('result', (result: Result) => {
    count(counts, result)
    if (!result.ok && result.skip === false && result.todo === false) failures.push(result)
  })
  let ended: Result | undefined
  const show = (): void => {
    if (ended === undefined) return
    const file = ended
    ended = undefined
    const seconds = ((file.time ?? 0) / 1000).toFixed(1)
    const passed = counts.passed - total.passed
    print(`${file.ok ? 'ok  ' : 'FAIL'} ${file.name}  ${passed} passed, ${counts.failed - total.failed} failed, ${seconds} s`)
    for (const failure of failures.splice(0)) for (const line of describeFailure(failure)) print(line)
    total = { ...counts }
  }
  // An assertion at the top is a test file that ended. If it failed as a whole, that is told right after it.
  parser.on('assert', (file: Result) => {
    show()
    ended = file
    queueMicrotask(show)
  })
  parser.on('child', show)
  follow(parser, print, slowMs)
  return {
    write: (text) => void parser.write(text),
    end: () => {
      parser.end()
      show()
      return counts
    },
  }
}
