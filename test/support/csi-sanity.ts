import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { goProgram } from '../../hack/go-programs/go-program.ts'
import { isRecord, own } from '../../src/core/json-shape.ts'

/** What csi-sanity says of one of its tests. */
export interface SanityOutcome {
  /** As it prints it, the groups first. */
  name: string
  /** passed, skipped, pending, or anything else, which is a failure. */
  state: string
  /** Why it was skipped or failed; empty where nothing was said. */
  message: string
}

const MODULE = join(import.meta.dirname, '../../hack/csi-sanity')

const textOf = (value: unknown, key: string): string => {
  const text = own(value, key)
  return typeof text === 'string' ? text : ''
}

const listOf = (value: unknown, key: string): unknown[] => {
  const list: unknown = own(value, key)
  return Array.isArray(list) ? list : []
}

const outcomeOf = (spec: unknown): SanityOutcome => ({
  name: [...listOf(spec, 'ContainerHierarchyTexts').map(String), textOf(spec, 'LeafNodeText')].join(' '),
  state: textOf(spec, 'State'),
  message: textOf(own(spec, 'Failure'), 'Message'),
})

/**
 * Runs the conformance tests of CSI against a plugin.
 * @param endpoint its socket
 * @param folder where the tests may make folders
 * @param leftOut matches the names of tests that are not started
 */
export const runCsiSanity = async (endpoint: string, folder: string, leftOut: RegExp): Promise<{ code: number; outcomes: SanityOutcome[] }> => {
  const program = await goProgram({ name: 'csi-sanity', moduleFolder: MODULE, package: 'github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity' })
  const report = join(folder, 'report.json')
  const args = [
    `--csi.endpoint=unix://${endpoint}`,
    `--csi.mountdir=${join(folder, 'mount')}`,
    `--csi.stagingdir=${join(folder, 'staging')}`,
    `--ginkgo.skip=${leftOut.source}`,
    `--ginkgo.json-report=${report}`,
    '--ginkgo.timeout=2m',
  ]
  const code = await new Promise<number>((resolve, reject) => {
    const child = execFile(program, args, { timeout: 150_000 }, (error) => {
      if (error !== null && child.exitCode === null) reject(error)
      else resolve(child.exitCode ?? 0)
    })
  })
  const suites: unknown = JSON.parse(await readFile(report, 'utf8'))
  const specs = Array.isArray(suites) ? suites.filter(isRecord).flatMap((suite) => listOf(suite, 'SpecReports')) : []
  return { code, outcomes: specs.map(outcomeOf).toSorted((a, b) => a.name.localeCompare(b.name)) }
}
