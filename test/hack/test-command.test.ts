import { cp, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { t as file, test } from 'tap'
import { run, type RunResult } from '../../hack/control-plane/run.ts'
import { ROOT } from '../../hack/project.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A copy: tap empties a folder of the project when it begins, in which the tests that run now write when they end. */
const project = await temporaryFolder(file)
for (const name of ['package.json', '.taprc', 'tsconfig.json', 'src', 'webhooks', 'hack', 'test']) await cp(join(ROOT, name), join(project, name), { recursive: true })
await symlink(join(ROOT, 'node_modules'), join(project, 'node_modules'))

const COMMAND = join(project, 'hack', 'test.ts')
const INTEGRATION = 'test/integration/control-plane.test.ts'
const OTHER = 'test/hack/control-plane/kubeconfig.test.ts'

/** The command as a person runs it: nothing of this test run in its environment, and no control plane to be had. */
const runTests = (assets: string, more: Record<string, string>, ...args: string[]): Promise<RunResult> => {
  const { PATH, HOME } = process.env
  return run(process.execPath, [COMMAND, ...args], { env: { PATH, HOME, KUBEBUILDER_ASSETS: assets, ...more } })
}

const lastLine = ({ stdout }: RunResult): string | undefined => stdout.trimEnd().split('\n').at(-1)

await test('without a control plane the other tests run, and it is said loudly that the integration tests did not', async (t) => {
  const result = await runTests(await temporaryFolder(t), {}, INTEGRATION, OTHER)
  t.equal(result.code, 0)
  t.match(result.stdout, /The integration tests did NOT run: 1 file\(s\)/)
  t.match(result.stdout, /Why: KUBEBUILDER_ASSETS is .*, but etcd, kube-apiserver, kubectl is not there/)
  t.equal(lastLine(result), '3 passed, 0 failed')
})

await test('in CI that is a failure, although the other tests passed', async (t) => {
  const result = await runTests(await temporaryFolder(t), { CI: 'true' }, INTEGRATION, OTHER)
  t.equal(result.code, 1)
  t.match(result.stdout, /CI=true: this counts as a failure/)
  t.equal(lastLine(result), '3 passed, 1 failed')
})

await test('fault runs without a control plane have not run, which is a failure', async (t) => {
  const result = await runTests(await temporaryFolder(t), {}, 'test/faults', '--jobs=1')
  t.equal(result.code, 1)
  t.match(result.stdout, /The integration tests did NOT run: \d+ file\(s\) in test\/faults\/ need/)
  t.equal(lastLine(result), '0 passed, 1 failed')
})

await test('a path that names no test is a failure', async (t) => {
  const result = await runTests(await temporaryFolder(t), {}, 'test/no-such.test.ts')
  t.equal(result.code, 1)
  t.match(result.stderr, /no test file is named by test\/no-such\.test\.ts/)
  t.equal(lastLine(result), '0 passed, 1 failed')
})

await test('--help explains it and runs nothing', async (t) => {
  const result = await runTests(await temporaryFolder(t), {}, '--help')
  t.equal(result.code, 0)
  t.match(result.stdout, /^Usage: npm test/)
})
