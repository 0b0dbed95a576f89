import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { createProgress } from '../../../hack/control-plane/progress.ts'
import { resolveRuntime, type RuntimeOptions } from '../../../hack/node/packages.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const ALL = ['containerd', 'containerd-shim-runc-v2', 'ctr', 'runc', 'unshare']

/** A machine where some programs are installed, and apt-get does what the script says. */
const machine = async (t: Test, { installed, apt }: { installed: readonly string[]; apt: string }) => {
  const home = await temporaryFolder(t)
  const [bin, programs, calls] = [join(home, 'bin'), join(home, 'programs'), join(home, 'calls')]
  for (const folder of [bin, programs]) await mkdir(folder)
  for (const name of installed) await writeFile(join(programs, name), '', { mode: 0o755 })
  await writeFile(join(bin, 'apt-get'), `#!/bin/sh\nlast=$(for a; do echo "$a"; done | grep -v -e '^-o$' -e = | tr '\\n' ' ')\necho "$last" >> ${calls}\n${apt}\n`)
  await chmod(join(bin, 'apt-get'), 0o755)
  const lines: string[] = []
  const options: RuntimeOptions = {
    env: { PATH: `${bin}:/bin:/usr/bin`, PROGRAMS: programs },
    folders: [join(home, 'nothing'), programs],
    progress: createProgress({ write: (text) => lines.push(text.trimEnd()) }, () => 0),
    mayInstall: true,
  }
  const asked = async (): Promise<string[]> => (await readFile(calls, 'utf8')).trimEnd().split('\n').map((line) => line.trim())
  const found = Object.fromEntries(ALL.map((name) => [name, join(programs, name)]))
  return { options, asked, found, lines }
}

const INSTALLS = 'for p in containerd containerd-shim-runc-v2 ctr runc; do echo > "$PROGRAMS/$p"; chmod +x "$PROGRAMS/$p"; done'

await test('what is there is used, and nothing is installed', async (t) => {
  const { options, found } = await machine(t, { installed: ALL, apt: 'exit 1' })
  t.strictSame(await resolveRuntime(options), found)
})

await test('what is missing is installed, and said', async (t) => {
  const { options, asked, found, lines } = await machine(t, { installed: ['unshare'], apt: INSTALLS })
  t.strictSame(await resolveRuntime(options), found)
  t.strictSame(await asked(), ['install -y --no-install-recommends containerd runc'])
  t.match(lines, [/^apt-get install .* …$/, /done in 0 s$/])
})

await test('a stale list of packages is read anew, and it is tried once more', async (t) => {
  const { options, asked, found } = await machine(t, { installed: ['unshare', 'runc'], apt: `[ "$(wc -l < "$PROGRAMS/../calls")" = 1 ] && exit 100\n${INSTALLS}` })
  t.strictSame(await resolveRuntime(options), found)
  t.strictSame(await asked(), ['install -y --no-install-recommends containerd', 'update', 'install -y --no-install-recommends containerd'])
})

const FAILURES: Record<string, { installed?: readonly string[]; apt: string; mayInstall?: boolean; message: string | RegExp }> = {
  'it may not install': {
    apt: INSTALLS,
    mayInstall: false,
    message:
      'no node: containerd and runc are not installed; install them as root ("apt-get install --no-install-recommends containerd runc" on Debian and Ubuntu), or run "npm run node -- --install"',
  },
  'apt-get fails each time': {
    apt: 'echo "E: Unable to locate package" >&2; exit 100',
    message: 'no node: apt-get update ended with 100: E: Unable to locate package; install containerd and runc by hand, then run this again',
  },
  'apt-get installs something else': {
    installed: ['unshare', 'containerd'],
    apt: 'exit 0',
    message: 'no node: apt-get has installed containerd and runc, but containerd and runc are not to be found; look whether its programs are on the PATH',
  },
}

for (const [sentence, { installed = ['unshare'], apt, mayInstall = true, message }] of Object.entries(FAILURES))
  await test(`the error says what to do: ${sentence}`, async (t) => {
    const { options } = await machine(t, { installed, apt })
    await t.rejects(resolveRuntime({ ...options, mayInstall }), { name: 'NodeFailure', message })
  })

await test('a machine without apt-get is told so', async (t) => {
  const { options } = await machine(t, { installed: ['unshare'], apt: '' })
  await t.rejects(resolveRuntime({ ...options, env: { PATH: '/nothing' } }), { name: 'NodeFailure', message: /apt-get update could not be run: spawn apt-get ENOENT; install containerd and runc by hand/ })
})

await test('the signal ends an installation', async (t) => {
  const { options } = await machine(t, { installed: ['unshare'], apt: 'exec sleep 60' })
  const ending = new AbortController()
  const resolving = resolveRuntime({ ...options, signal: ending.signal, progress: { ...options.progress, step: (title, work) => (setImmediate(() => ending.abort(new Error('ended by SIGINT'))), options.progress.step(title, work)) } })
  await t.rejects(resolving, new Error('ended by SIGINT'))
})
