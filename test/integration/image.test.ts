import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, readdir, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { t as file, test, type Test } from 'tap'
import { bundle } from '../../hack/build/bundle.ts'
import { freePort } from '../../hack/control-plane/free-port.ts'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { copiesOf, execForm, readDockerfile, ROOT } from '../support/dockerfile.ts'
import { untilTrue } from '../support/eventually.ts'
import { kustomize } from '../support/shipped-ground.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const LOOPBACK = '127.0.0.1'
const UP_WITHIN_MS = 60_000

const cluster = testControlPlane()
const manifests = await kustomize(cluster, 'self-signed')

/** The arguments of a role's Deployment or DaemonSet. */
const argumentsOf = (role: string): string[] => {
  const workload = manifests.find(({ kind, metadata }) => ['Deployment', 'DaemonSet'].includes(kind) && metadata.name === `access-gate-${role}`)
  const spec = workload?.['spec'] as { template: { spec: { containers: { args: string[] }[] } } } | undefined
  const [container] = spec?.template.spec.containers ?? []
  if (container === undefined) throw new Error(`there is no Deployment or DaemonSet of the ${role}`)
  return container.args
}

/** A folder with what the image holds, where the image has it. @returns the folder and the path of the program in it */
const imageRoot = async (t: Pick<Test, 'teardown'>): Promise<{ root: string; program: string }> => {
  const stage = (await readDockerfile()).stages.at(-1)
  if (stage === undefined) throw new Error('the Dockerfile has no stage')
  const built = await temporaryFolder(t)
  await bundle({ root: ROOT, entry: 'src/main.ts', outDir: join(built, 'dist'), name: 'access-gate' })
  await copyFile(join(ROOT, 'LICENSE'), join(built, 'LICENSE'))
  const root = await realpath(await temporaryFolder(t))
  for (const { sources, target } of copiesOf(stage)) {
    for (const source of sources) {
      const to = join(root, target.endsWith('/') ? join(target, source.split('/').at(-1) ?? '') : target)
      await mkdir(dirname(to), { recursive: true })
      await copyFile(join(built, source.replace(/^\/build\//, '')), to)
    }
  }
  return { root, program: join(root, execForm(stage, 'ENTRYPOINT')?.[1] ?? '') }
}

interface Running {
  child: ChildProcess
  /** What it wrote so far, on both streams. */
  output: () => string
}

/**
 * Node that may read only these paths and write only below those, where there are any. Started by `env`, because the test runner adds an option to every
 * Node that it sees being started, and that would have to be read too.
 */
const confinedNode = (t: Test, cwd: string, readable: readonly string[], args: readonly string[], writable: readonly string[] = []): Running => {
  const permissions = ['--permission', ...[...readable, ...writable].map((path) => `--allow-fs-read=${path}`), ...writable.map((path) => `--allow-fs-write=${path}`)]
  const child = spawn('/usr/bin/env', ['-i', process.execPath, ...permissions, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (more: string) => (text += more))
  t.teardown(() => void child.kill('SIGKILL'))
  return { child, output: () => text }
}

const isReady = async (port: number): Promise<boolean> => {
  try {
    return (await fetch(`http://${LOOPBACK}:${port}/readyz`)).ok
  } catch {
    // Refused until it listens.
    return false
  }
}

await test('Node with these permissions writes no file, so what works below works on a read-only disk', async (t) => {
  const folder = await temporaryFolder(t)
  const { child, output } = confinedNode(t, folder, [folder], ['-e', `require('node:fs').writeFileSync(${JSON.stringify(join(folder, 'a'))}, '')`])
  const [code] = await once(child, 'close')
  t.equal(code, 1)
  t.match(output(), /ERR_ACCESS_DENIED[\s\S]*FileSystemWrite/)
})

const { root, program } = await imageRoot(file)

interface Started {
  role: string
  /** What this machine must have its own way. The last of two options counts: it comes behind the arguments of the manifests. */
  options?: string[]
  writable?: string[]
}

/** Starts a role with the arguments of the manifests and its own account, waits until it is ready, and stops it. */
const startAndStop = async (subtest: Test, { role, options = [], writable = [] }: Started): Promise<void> => {
  const name = `access-gate-${role}`
  const kubeconfig = await cluster.kubeconfigFor({ name: `${name}-image`, token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, name) })
  const metricsPort = await freePort()
  const here = [`--kubeconfig=${kubeconfig}`, `--metrics-host=${LOOPBACK}`, `--metrics-port=${metricsPort}`, ...options]
  const { child, output } = confinedNode(subtest, root, [root, kubeconfig], [program, ...argumentsOf(role), ...here], writable)
  const closed = once(child, 'close')
  await untilTrue(`the ${role} is ready`, async () => child.exitCode !== null || (await isReady(metricsPort)), UP_WITHIN_MS)
  child.kill('SIGTERM')
  subtest.strictSame(await closed, [0, null], output())
  const lines = output().trimEnd().split('\n')
  const messages = lines.map((line): string => (JSON.parse(line) as { msg: string }).msg)
  subtest.equal(messages[0], 'starting', 'nothing but log lines')
  subtest.match(messages.at(-1), / stopped$/)
}

const roles: Started[] = [{ role: 'webhook', options: [`--host=${LOOPBACK}`, '--port=0', '--drain-seconds=0'] }, { role: 'controller' }]

for (const started of roles) {
  await test(`the ${started.role} starts from the bundle alone, without writing a file, and stops in order`, (subtest) => startAndStop(subtest, started))
}

await test('the plugin starts from the bundle alone, writes in the folders of kubelet that the DaemonSet mounts and nowhere else, and stops in order', async (subtest) => {
  const kubelet = await realpath(await temporaryFolder(subtest))
  const csi = join(kubelet, 'csi')
  const registration = join(kubelet, 'registration')
  const writable = [csi, registration, join(kubelet, 'pods')]
  await Promise.all(writable.map((path) => mkdir(path)))
  await startAndStop(subtest, { role: 'csi', writable, options: ['--node-name=node-1', `--endpoint=${csi}/csi.sock`, `--registration-dir=${registration}`, `--kubelet-dir=${kubelet}`] })
  subtest.strictSame(await readdir(registration), [], 'its sockets are gone')
  subtest.strictSame((await readdir(csi)).toSorted(), ['asked', 'volumes'])
})
