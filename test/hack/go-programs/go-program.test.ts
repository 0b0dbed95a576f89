import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { test, type Test } from 'tap'
import { createProgress } from '../../../hack/control-plane/progress.ts'
import { goProgram, type GoProgram } from '../../../hack/go-programs/go-program.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const say = promisify(execFile)

/** Answers as Go does; "builds" a script that says what the build was told and how often it was asked. */
const FAKE_GO = `case "$1" in
env) printf 'go1.26.1\\nlocal\\n' ;;
build) echo "$PWD $*" >> "$CALLS"; while [ "$1" != -o ]; do shift; done; printf '#!/bin/sh\\necho built from %s\\n' "$3" > "$2"; chmod +x "$2" ;;
esac`

/** A module of one program, and a machine with an empty cache and of Go what the script says. */
const machine = async (t: Test, goScript: string = FAKE_GO) => {
  const home = await temporaryFolder(t)
  const moduleFolder = join(home, 'module')
  const bin = join(home, 'bin')
  const calls = join(home, 'calls')
  await Promise.all([moduleFolder, bin].map((folder) => mkdir(folder)))
  await writeFile(join(moduleFolder, 'go.mod'), 'module a.invalid/a\n\ngo 1.26.0\n')
  await writeFile(join(moduleFolder, 'main.go'), 'package main\n')
  await writeFile(join(bin, 'go'), `#!/bin/sh\n${goScript}\n`)
  await chmod(join(bin, 'go'), 0o755)
  const lines: string[] = []
  const progress = createProgress({ write: (text) => lines.push(text.trimEnd()) }, () => 0)
  const env: NodeJS.ProcessEnv = { XDG_CACHE_HOME: join(home, 'cache'), PATH: `${bin}:/bin:/usr/bin`, CALLS: calls }
  const root = join(home, 'cache', 'access-gate', 'go-programs', 'greeter')
  const program: GoProgram = { name: 'greeter', moduleFolder, package: './cmd/greeter' }
  const builds = async (): Promise<string[]> => (existsSync(calls) ? (await readFile(calls, 'utf8')).trim().split('\n') : [])
  return { program, env, progress, lines, root, bin, moduleFolder, builds }
}

await test('a program is built once, in its module; the next time it takes no Go at all', async (t) => {
  const { program, env, progress, lines, root, bin, moduleFolder, builds } = await machine(t)
  const path = await goProgram(program, { env, progress })
  t.equal((await say(path)).stdout, 'built from ./cmd/greeter\n')
  t.match(await builds(), [new RegExp(`^${moduleFolder} build -trimpath -ldflags -s -w -o ${root}/\\S+/greeter ./cmd/greeter$`)])
  t.strictSame(lines, ['go build greeter, once for this machine …', 'go build greeter, once for this machine: done in 0 s'])

  t.equal(await goProgram(program, { env: { ...env, PATH: '/nowhere' }, progress }), path)
  t.equal((await builds()).length, 1)
  t.equal(lines.length, 2, 'nothing is said about it')
  t.ok(existsSync(bin))
})

await test('several at once make one build', async (t) => {
  const { program, env, progress, builds, root } = await machine(t, FAKE_GO.replace('build)', 'build) sleep 0.3;'))
  const paths = await Promise.all([1, 2, 3].map(() => goProgram(program, { env, progress })))
  t.equal(new Set(paths).size, 1)
  t.equal((await builds()).length, 1)
  t.equal((await readdir(root)).length, 1, 'no lock is left')
})

const changes: Record<string, (moduleFolder: string) => Promise<Partial<GoProgram>>> = {
  'a changed source': async (folder) => {
    await writeFile(join(folder, 'main.go'), 'package main // changed\n')
    return {}
  },
  'a source in a folder': async (folder) => {
    await mkdir(join(folder, 'inner'))
    await writeFile(join(folder, 'inner', 'more.go'), 'package inner\n')
    return {}
  },
  'a renamed source': async (folder) => {
    await writeFile(join(folder, 'other.go'), await readFile(join(folder, 'go.mod')))
    return {}
  },
  'another pin': async (folder) => {
    await writeFile(join(folder, 'go.sum'), 'a.invalid/b v1.0.0 h1:x=\n')
    return {}
  },
  'another package': () => Promise.resolve({ package: './cmd/other' }),
}

for (const [sentence, change] of Object.entries(changes)) {
  await test(`${sentence} is another program`, async (t) => {
    const { program, env, progress, moduleFolder } = await machine(t)
    const before = await goProgram(program, { env, progress })
    const after = await goProgram({ ...program, ...(await change(moduleFolder)) }, { env, progress })
    t.not(after, before)
    t.ok(existsSync(before) && existsSync(after))
  })
}

await test('a build that fails shows what the compiler said, and caches nothing', async (t) => {
  const { program, env, progress, root } = await machine(t, `case "$1" in\nenv) printf 'go1.26.1\\nlocal\\n' ;;\nbuild) echo 'main.go:1: broken on purpose' >&2; exit 2 ;;\nesac`)
  await t.rejects(goProgram(program, { env, progress }), {
    name: 'GoProgramFailure',
    message: 'go build of greeter failed; see the lines below\nmain.go:1: broken on purpose',
  })
  t.strictSame(await readdir(root), [])
})

const machines: Record<string, { goScript: string; message: string }> = {
  'a machine without Go is told what to install': { goScript: 'exit 1', message: 'the program greeter cannot be built: Go is not installed; install Go 1.26.0 or newer' },
  'so is one with an old Go that may fetch no newer one': {
    goScript: `printf 'go1.24.2\\nlocal\\n'`,
    message: 'the program greeter cannot be built: Go 1.24.2 is too old; install Go 1.26.0 or newer',
  },
}

for (const [sentence, { goScript, message }] of Object.entries(machines)) {
  await test(sentence, async (t) => {
    const { program, env, progress } = await machine(t, goScript)
    await t.rejects(goProgram(program, { env, progress }), { name: 'GoProgramFailure', message })
  })
}

await test('the signal ends a build and frees the cache for the next one', async (t) => {
  const { program, env, progress, root } = await machine(t, `case "$1" in\nenv) printf 'go1.26.1\\nlocal\\n' ;;\nbuild) exec sleep 60 ;;\nesac`)
  const ending = new AbortController()
  const step: typeof progress.step = (title, work) => {
    setImmediate(() => ending.abort())
    return progress.step(title, work)
  }
  await t.rejects(goProgram(program, { env, progress: { ...progress, step }, signal: ending.signal }), { name: 'AbortError' })
  t.strictSame(await readdir(root), [])
})
