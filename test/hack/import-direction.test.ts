import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'tap'

const ROOT = join(import.meta.dirname, '..', '..')
/** Not bin/oxlint: tap's hooks in child processes cannot load a module without an extension. */
const OXLINT = join(ROOT, 'node_modules', 'oxlint', 'dist', 'cli.js')
const RULES = ['no-restricted-imports', 'no-restricted-globals', 'no-restricted-properties']

interface Diagnostic {
  code: string
  filename: string
}

/** Writes one file for each piece of source under the project's own layout and lint rules. @returns which of the files were refused */
const refusedFiles = async (sources: Record<string, string>): Promise<string[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-lint-'))
  try {
    await copyFile(join(ROOT, '.oxlintrc.json'), join(folder, '.oxlintrc.json'))
    for (const [file, source] of Object.entries(sources)) {
      await mkdir(dirname(join(folder, file)), { recursive: true })
      await writeFile(join(folder, file), `${source}\n`)
    }
    const { stdout } = await promisify(execFile)(process.execPath, [OXLINT, '--format=json', '.'], { cwd: folder }).catch((error: unknown) => {
      // Findings are an exit code of 1.
      if (error instanceof Error && 'stdout' in error && typeof error.stdout === 'string') return { stdout: error.stdout }
      throw error
    })
    const { diagnostics }: { diagnostics: Diagnostic[] } = JSON.parse(stdout)
    const found = diagnostics.filter(({ code }) => RULES.some((rule) => code.includes(rule))).map(({ filename }) => filename)
    return [...new Set(found)].toSorted()
  } finally {
    await rm(folder, { recursive: true })
  }
}

const importOf = (specifier: string): string => `import { thing } from '${specifier}'\nexport const kept = thing`

/** A file for each specifier in each place. */
const importsFrom = (table: Record<string, readonly string[]>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(table).flatMap(([place, specifiers]) =>
      specifiers.map((specifier, index) => [place.replace('*', `from-${index}`), importOf(specifier)]),
    ),
  )

const REFUSED: Record<string, readonly string[]> = {
  'src/*.ts': ['./controller/queue.ts', '../webhooks/pod.ts', './main.ts', './command-line.ts', '../hack/start.ts', '../test/support/x.ts', '@kubernetes/client-node'],
  'src/api/*.ts': ['../core/gate.ts', '../errors.ts', '../kube/ports.ts', 'yaml', 'node:fs', './../core/gate.ts', '../../hack/x.ts', '../log.ts'],
  'src/core/*.ts': [
    '../kube/ports.ts',
    '../controller/queue.ts',
    '../csi/node.ts',
    '../extension/server.ts',
    '../auth/server.ts',
    '../main.ts',
    '../log.ts',
    '../config.ts',
    '../../webhooks/pod.ts',
    '../../hack/start.ts',
    '../../test/support/x.ts',
    './../kube/ports.ts',
    'node:crypto',
    'fastify',
    'pino',
    '@kubernetes/client-node',
    'node:fs/promises',
    'fs',
  ],
  'src/kube/*.ts': ['../controller/queue.ts', '../csi/node.ts', '../extension/server.ts', '../auth/server.ts', '../../webhooks/pod.ts', '../main.ts', '../../hack/x.ts'],
  'src/controller/*.ts': ['../../webhooks/pod.ts', '../csi/node.ts', '../extension/server.ts', '../auth/x.ts', '../main.ts', '../command-line.ts', '../../hack/x.ts', '../../test/x.ts', '@kubernetes/client-node'],
  'src/csi/*.ts': ['../controller/queue.ts', '../extension/server.ts', '../auth/x.ts', '../../webhooks/pod.ts', '../main.ts', '@kubernetes/client-node'],
  'src/extension/*.ts': ['../controller/queue.ts', '../csi/node.ts', '../auth/x.ts', '../../webhooks/pod.ts', '../main.ts', '@kubernetes/client-node'],
  'src/auth/*.ts': ['../controller/queue.ts', '../csi/node.ts', '../extension/x.ts', '../../webhooks/pod.ts', '../main.ts', '@kubernetes/client-node'],
  'webhooks/*.ts': ['../src/controller/queue.ts', '../src/csi/node.ts', '../src/extension/x.ts', '../src/auth/x.ts', '../src/main.ts', '../hack/x.ts', '../test/x.ts', '@kubernetes/client-node'],
  'hack/*.ts': ['../test/support/x.ts'],
}

const ACCEPTED: Record<string, readonly string[]> = {
  'src/*.ts': ['./errors.ts', './api/names.ts', './kube/ports.ts', 'pino', 'node:fs'],
  'src/api/*.ts': ['./names.ts', 'typebox', 'typebox/value'],
  'src/core/*.ts': ['../api/names.ts', '../errors.ts', './gate.ts', 'typebox', 'typebox/value', 'yaml', '@marcbachmann/cel-js', '@noble/hashes/sha2.js'],
  'src/kube/*.ts': ['../api/names.ts', '../core/time.ts', '../errors.ts', './ports.ts', '@kubernetes/client-node', 'node:https', 'pino'],
  'src/controller/*.ts': ['../core/gate.ts', '../kube/ports.ts', './controller.ts', 'pino'],
  'src/csi/*.ts': ['../core/gate.ts', '../kube/ports.ts', './node.ts'],
  'src/extension/*.ts': ['../core/gate.ts', '../kube/ports.ts', 'fastify'],
  'src/auth/*.ts': ['../core/gate.ts', '../kube/ports.ts', './auth.ts'],
  'webhooks/*.ts': ['../src/api/names.ts', '../src/core/gate.ts', '../src/kube/ports.ts', './pod.ts', 'fastify'],
  'hack/*.ts': ['../src/main.ts', '../webhooks/server.ts', '@kubernetes/client-node', './control-plane/start.ts'],
  'test/*.ts': ['../hack/control-plane/start.ts', '../src/core/gate.ts'],
}

await test('every arrow against the import direction is refused, each alone', async (t) => {
  const sources = importsFrom(REFUSED)
  t.strictSame(await refusedFiles(sources), Object.keys(sources).toSorted())
})

await test('every arrow along the import direction is accepted', async (t) => {
  t.strictSame(await refusedFiles(importsFrom(ACCEPTED)), [])
})

/** Files with a rule of their own. */
const NAMED: { file: string; specifier: string; refused: boolean }[] = [
  { file: 'src/errors.ts', specifier: './api/names.ts', refused: true },
  { file: 'src/main.ts', specifier: '../hack/start.ts', refused: true },
  { file: 'src/main.ts', specifier: '@kubernetes/client-node', refused: true },
  { file: 'src/main.ts', specifier: './controller/controller.ts', refused: false },
  { file: 'src/main.ts', specifier: './command-line.ts', refused: false },
  { file: 'src/command-line.ts', specifier: '../test/support/x.ts', refused: true },
  { file: 'src/command-line.ts', specifier: '../webhooks/options.ts', refused: false },
]

for (const { file, specifier, refused } of NAMED)
  await test(`${file} ${refused ? 'may not' : 'may'} import ${specifier}`, async (t) => {
    t.strictSame(await refusedFiles({ [file]: importOf(specifier) }), refused ? [file] : [])
  })

await test('an export from, a type import and a dynamic import are arrows too', async (t) => {
  const sources = {
    'src/core/export.ts': "export { thing } from '../kube/ports.ts'",
    'src/core/type.ts': "import type { Thing } from '../kube/ports.ts'\nexport type Kept = Thing",
    'src/core/dynamic.ts': "export const load = () => import('../kube/ports.ts')",
  }
  t.strictSame(await refusedFiles(sources), Object.keys(sources).toSorted())
})

const IMPURE = [
  'Date.now()',
  'new Date()',
  'new Date(0)',
  'Math.random()',
  'process.env',
  'globalThis.process',
  "fetch('http://localhost')",
  'setTimeout(() => undefined, 1)',
  'crypto.randomUUID()',
  'performance.now()',
  "console.log('x')",
]

await test('src/core reads no clock, draws no random value and has no I/O', async (t) => {
  const sources = Object.fromEntries(IMPURE.map((code, index) => [`src/core/impure-${index}.ts`, `export const value = () => ${code}`]))
  t.strictSame(await refusedFiles(sources), Object.keys(sources).toSorted())
})

await test('src/core/time.ts may format a given time, but reads no clock', async (t) => {
  t.strictSame(await refusedFiles({ 'src/core/time.ts': 'export const text = (ms: number) => new Date(ms).toISOString()' }), [])
  t.strictSame(await refusedFiles({ 'src/core/time.ts': 'export const now = () => Date.now()' }), ['src/core/time.ts'])
})
