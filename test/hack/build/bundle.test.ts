import { execFile } from 'node:child_process'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'tap'
import { bundle } from '../../../hack/build/bundle.ts'

const root = resolve(import.meta.dirname, '../../..')
const run = promisify(execFile)

// Asks for what only a real bundle gets right: CommonJS packages that load Node's own modules, and types to be stripped.
const PROGRAM = `
import { Command } from 'commander'
import { pino } from 'pino'
import { parse } from 'yaml'
class PlainError extends Error {}
const value: { a: number } = parse('a: 1')
pino({ base: null, timestamp: false }).error(new PlainError('x').constructor.name)
new Command().name('program').option('--times <n>', 'how often: ' + value.a).parse()
`

await test('a program becomes one executable file that runs without node_modules', async (t) => {
  const folder = t.testdir({ 'main.ts': PROGRAM, out: { 'stale.js': '' } })
  const outDir = join(folder, 'out')
  const { file, bytes, notices, packages } = await bundle({ root, entry: relative(root, join(folder, 'main.ts')), outDir, name: 'program' })

  t.strictSame((await readdir(outDir)).toSorted(), ['THIRD-PARTY-NOTICES.txt', 'program.js'])
  t.strictSame([file, notices], [join(outDir, 'program.js'), join(outDir, 'THIRD-PARTY-NOTICES.txt')])
  const { mode, size } = await stat(file)
  t.equal(mode & 0o777, 0o755)
  t.equal(size, bytes)
  t.match(await readFile(file, 'utf8'), /^#!\/usr\/bin\/env node\n/)

  const { stdout } = await run(process.execPath, ['--no-experimental-strip-types', file, '--help'], { cwd: '/', env: {} })
  t.match(stdout, '"msg":"PlainError"')
  t.match(stdout, /Usage: program \[options\][\s\S]*how often: 1/)

  const names = packages.map(({ name }) => name)
  t.ok(names.includes('pino') && names.includes('yaml') && names.includes('commander'))
  t.notOk(names.includes('fastify'))
  t.match(await readFile(notices, 'utf8'), /\ncommander \d+\.\d+\.\d+\nLicence: MIT\n/)
})

await test('all of it is ASCII, which V8 keeps in half the memory, and means the same', async (t) => {
  const source = "const found = 'µ→😀'.match(/[µ][→]/)?.[0]\nprocess.stdout.write(`${found} ${/^\\p{So}|😀$/u.test('😀')} µ`)"
  const folder = t.testdir({ 'main.ts': source })
  const { file, bytes } = await bundle({ root, entry: relative(root, join(folder, 'main.ts')), outDir: join(folder, 'out'), name: 'program' })
  const code = await readFile(file, 'utf8')
  t.match(code, /^[\0-\x7f]*$/)
  t.equal(bytes, code.length)
  t.equal((await run(process.execPath, [file])).stdout, 'µ→ true µ')
})

await test('a program that says how it is run says so once', async (t) => {
  const folder = t.testdir({ 'main.ts': "#!/usr/bin/env node\nprocess.stdout.write('here')" })
  const { file } = await bundle({ root, entry: relative(root, join(folder, 'main.ts')), outDir: join(folder, 'out'), name: 'program' })
  t.strictSame((await readFile(file, 'utf8')).match(/#!/g), ['#!'])
  t.equal((await run(file)).stdout, 'here')
})

await test('what cannot be bundled leaves the last build as it is', async (t) => {
  const folder = t.testdir({ 'main.ts': "import './nowhere.ts'", out: { 'program.js': 'last build' } })
  const outDir = join(folder, 'out')
  await t.rejects(bundle({ root, entry: relative(root, join(folder, 'main.ts')), outDir, name: 'program' }), /nowhere/)
  t.equal(await readFile(join(outDir, 'program.js'), 'utf8'), 'last build')
})
