import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { generatedFiles, staleFiles } from '../../../hack/generate/files.ts'

const checkout = resolve(import.meta.dirname, '../../..')
const generator = join(checkout, 'hack/generate/main.ts')

const generate = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((done) => {
    const child = execFile(process.execPath, [generator, ...args], (_, stdout, stderr) => done({ code: child.exitCode ?? -1, stdout, stderr }))
  })

await test('the generated files of this checkout are what src says', async (t) => {
  t.strictSame((await staleFiles(checkout, generatedFiles())).map((file) => file.path), [])
})

await test('every generated manifest is YAML that says where it comes from', async (t) => {
  for (const { path, content } of generatedFiles().filter((file) => file.path.startsWith('manifests/'))) {
    t.match(content, /^# Generated from src\/ by "npm run generate"; do not edit\.\n/, path)
    t.strictSame(parseAllDocuments(content).flatMap((document) => document.errors), [], path)
  }
})

await test('--verify names what is missing or changed, writes nothing, and is content once it was generated', async (t) => {
  const root = t.testdir({})
  const paths = generatedFiles().map((file) => file.path)

  const missing = await generate('--verify', '--root', root)
  t.strictSame(missing, { code: 1, stdout: '', stderr: paths.map((path) => `${path} is stale: run npm run generate\n`).join('') })

  const written = await generate('--root', root)
  t.strictSame(written, { code: 0, stdout: paths.map((path) => `wrote ${path}\n`).join(''), stderr: '' })
  t.strictSame(await generate('--verify', '--root', root), { code: 0, stdout: '', stderr: '' })
  t.strictSame(await generate('--root', root), { code: 0, stdout: 'everything is up to date\n', stderr: '' })

  const [edited = '', removed = ''] = paths
  await writeFile(join(root, edited), `${await readFile(join(root, edited), 'utf8')}\n`)
  await rm(join(root, removed))
  t.match(await generate('--verify', '--root', root), { code: 1, stderr: `${edited} is stale: run npm run generate\n${removed} is stale: run npm run generate\n` })
})
