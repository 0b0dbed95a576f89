import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import { noticesText, packageFolders, readBundledPackage, type BundledPackage } from './notices.ts'

export interface BundleOptions {
  /** Folder that the paths below and node_modules are in. */
  root: string
  /** The program's source file. */
  entry: string
  /** Emptied first. */
  outDir: string
  /** Name of the program, without extension. */
  name: string
}

export interface Bundle {
  file: string
  bytes: number
  notices: string
  packages: BundledPackage[]
}

const FIRST_LINE = '#!/usr/bin/env node\n'

/** The oldest Node that client-node runs on. */
const TARGET = 'node22.19'

// An ES module has none of these, and some of the bundled CommonJS packages ask for them when they are loaded.
const BANNER = [
  "import { createRequire as bundleCreateRequire } from 'node:module'",
  "import { dirname as bundleDirname } from 'node:path'",
  'const require = bundleCreateRequire(import.meta.url)',
  'const __filename = import.meta.filename',
  'const __dirname = bundleDirname(__filename)',
  '',
].join('\n')

/**
 * V8 keeps the text of a program for as long as it runs, with one byte a character where all are ASCII, and else two: 5 MB more. The
 * bundler writes strings and names in ASCII and drops comments; regular expressions are left, where an escape means the same.
 */
const inAscii = (code: string): string => code.replaceAll(/[^\0-\x7f]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

/**
 * Makes one executable file of the program and all its packages, and a file with their licences.
 * @throws Error when the code cannot be bundled, or a package may not be shipped
 */
export const bundle = async ({ root, entry, outDir, name }: BundleOptions): Promise<Bundle> => {
  const file = join(outDir, `${name}.js`)
  const notices = join(outDir, 'THIRD-PARTY-NOTICES.txt')
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: file,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: TARGET,
    // Names stay, as classes of errors and functions of a stack are part of what is logged. The bundler could keep them beside short
    // ones (keepNames), but then every function that is made in a call is named by a call: a third more CPU for an admission.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'external',
    banner: { js: BANNER },
    metafile: true,
    write: false,
    logLevel: 'silent',
  })
  const textOf = (path: string): string | undefined => result.outputFiles.find((output) => output.path === path)?.text
  const output = textOf(file)
  if (output === undefined) throw new Error(`the bundler wrote no ${file}`)
  // The bundler keeps the first line of an entry that has one, in front of the banner.
  const code = inAscii(output.startsWith('#!') ? output : `${FIRST_LINE}${output}`)
  const packages = await Promise.all(packageFolders(Object.keys(result.metafile.inputs)).map((folder) => readBundledPackage(join(root, folder))))

  await rm(outDir, { recursive: true, force: true })
  await mkdir(outDir, { recursive: true })
  await writeFile(file, code)
  await chmod(file, 0o755)
  await writeFile(notices, noticesText(name, packages, textOf(`${file}.LEGAL.txt`) ?? ''))
  return { file, bytes: Buffer.byteLength(code), notices, packages }
}
