/** `npm run generate`: writes the files that follow from src/. `-- --verify` writes nothing and exits 1 when one is stale. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { generatedFiles, staleFiles } from './files.ts'

const { values: options } = parseArgs({
  options: {
    verify: { type: 'boolean', default: false },
    root: { type: 'string', default: resolve(import.meta.dirname, '../..') },
  },
})

const stale = await staleFiles(options.root, generatedFiles())

if (options.verify) {
  for (const { path } of stale) process.stderr.write(`${path} is stale: run npm run generate\n`)
  if (stale.length > 0) process.exitCode = 1
} else {
  for (const { path, content } of stale) {
    await mkdir(dirname(join(options.root, path)), { recursive: true })
    await writeFile(join(options.root, path), content)
    process.stdout.write(`wrote ${path}\n`)
  }
  if (stale.length === 0) process.stdout.write('everything is up to date\n')
}
