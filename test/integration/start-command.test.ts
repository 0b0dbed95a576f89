/** `npm start` in a copy of the project, so that one that runs here is left alone. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readdir, realpath, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { ROOT } from '../../hack/project.ts'
import { untilTrue } from '../support/eventually.ts'
import { familyOf, listProcesses, type ProcessLine } from '../support/process-table.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const UP_WITHIN_MS = 180_000
const GONE_WITHIN_MS = 90_000

interface Copy {
  project: string
  /** Where its programs put their data. */
  data: string
}

/** What `npm start` is made of is copied, and so finds itself in the copy; what it uses is not. */
const copyOfProject = async (t: Test): Promise<Copy> => {
  const folder = await realpath(await temporaryFolder(t))
  const [project, data] = [join(folder, 'project'), join(folder, 'data')]
  await Promise.all([project, data].map((path) => mkdir(path)))
  await cp(join(ROOT, 'hack'), join(project, 'hack'), { recursive: true })
  for (const name of ['package.json', 'node_modules', 'src', 'webhooks', 'manifests', 'docs']) await symlink(join(ROOT, name), join(project, name))
  return { project, data }
}

interface Started {
  child: ChildProcess
  pid: number
  /** All that it said, on both outputs. */
  said: () => string
}

/** As from a terminal: it leads a process group, and knows nothing of the npm that runs the tests. */
const start = async (t: Test, { project, data }: Copy, options: readonly string[]): Promise<Started> => {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith('npm_')))
  // npm itself would leave a cache of compiled code among the data.
  const own = { TMPDIR: data, NODE_DISABLE_COMPILE_CACHE: '1' }
  const child = spawn('npm', ['start', '--', ...options], { cwd: project, env: { ...env, ...own }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const { pid = 0 } = child
  const isEnded = (): boolean => child.exitCode !== null || child.signalCode !== null
  t.teardown(async () => {
    if (isEnded()) return
    const exit = once(child, 'exit')
    process.kill(-pid, 'SIGKILL')
    await exit
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  await untilTrue('it says that it is ready', () => isEnded() || /^ready: /m.test(text), UP_WITHIN_MS)
  if (isEnded()) throw new Error(`npm start ended before it was ready: ${text}`)
  return { child, pid, said: () => text }
}

interface Ending {
  options: string[]
  interrupt: (pid: number) => void
}

const ENDINGS: Record<string, Ending> = {
  'Ctrl-C in its terminal': { options: [], interrupt: (pid) => process.kill(-pid, 'SIGINT') },
  'Ctrl-C in its terminal, with --extension': { options: ['--extension'], interrupt: (pid) => process.kill(-pid, 'SIGINT') },
  'SIGINT to npm alone, with --extension': { options: ['--extension'], interrupt: (pid) => process.kill(pid, 'SIGINT') },
}

for (const [name, { options, interrupt }] of Object.entries(ENDINGS))
  await test(`${name}: npm start ends well and leaves neither a process nor a file`, async (t) => {
    const copy = await copyOfProject(t)
    const { child, pid, said } = await start(t, copy, options)
    const family = familyOf(pid, await listProcesses())
    for (const program of ['hack/start.ts', 'guard.ts', 'etcd', 'kube-apiserver']) t.ok(family.some(({ command }) => command.includes(program)), `${program} runs`)
    t.ok((await readdir(copy.data)).length > 0)
    t.ok((await readdir(join(copy.project, '.sandbox'))).includes('kubeconfig'))

    const exit = once(child, 'close')
    interrupt(pid)
    t.strictSame(await exit, [0, null], said())
    t.match(said(), /^stopping$/m)
    t.notMatch(said(), /"level":"(error|fatal)"|Error/)
    const pids = new Set(family.map((line) => line.pid))
    const isItsOwn = (line: ProcessLine): boolean => pids.has(line.pid) || line.group === pid || line.command.includes(copy.data) || line.command.includes(copy.project)
    await untilTrue('all its processes are gone', async () => !(await listProcesses()).some(isItsOwn), GONE_WITHIN_MS)
    t.strictSame(await readdir(copy.data), [])
    t.strictSame(await readdir(join(copy.project, '.sandbox')), [])
  })
