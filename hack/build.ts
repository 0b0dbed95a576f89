/** `npm run build`: dist/access-gate.js, one file that runs on Node without node_modules, and the licences of what is in it. */
import { relative, resolve } from 'node:path'
import { bundle } from './build/bundle.ts'

const root = resolve(import.meta.dirname, '..')
const started = performance.now()
const { file, bytes, notices, packages } = await bundle({ root, entry: 'src/main.ts', outDir: resolve(root, 'dist'), name: 'access-gate' })
const seconds = ((performance.now() - started) / 1000).toFixed(1)
process.stdout.write(`${relative(root, file)}: ${(bytes / 1024 / 1024).toFixed(2)} MiB, built in ${seconds} s\n`)
process.stdout.write(`${relative(root, notices)}: ${packages.length} packages\n`)
