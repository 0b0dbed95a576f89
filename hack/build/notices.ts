import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A package whose code is part of the bundle, with the texts that its licence wants to travel along. */
export interface BundledPackage {
  name: string
  version: string
  /** SPDX expression as the package declares it, or a line that says where to look. */
  licence: string
  /** As the package names it; empty when it does not. */
  author: string
  /** Licence and notice files: file name and content. */
  texts: { file: string; text: string }[]
}

const LEGAL_FILE = /^((un)?licen[cs]e|copying|notice)([.-].*)?$/i
const LICENCE_FILE = /^((un)?licen[cs]e|copying)/i

/** The folders of the packages that these input paths lie in, sorted, each once. Pure. */
export const packageFolders = (inputs: readonly string[]): string[] => {
  // The greedy start finds the innermost node_modules, so a nested package counts as itself.
  const folders = inputs.map((input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0])
  return [...new Set(folders.filter((folder) => folder !== undefined))].toSorted()
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

const declaredLicence = (manifest: Record<string, unknown>): string | undefined => {
  const { license } = manifest
  if (typeof license === 'string' && license !== '') return license
  return isObject(license) && typeof license.type === 'string' ? license.type : undefined
}

const nameOf = (author: unknown): string => {
  if (typeof author === 'string') return author
  return isObject(author) && typeof author.name === 'string' ? author.name : ''
}

/**
 * Reads what must be said about one bundled package.
 * @throws Error when it has neither a licence file nor a licence field: it may not be shipped
 */
export const readBundledPackage = async (folder: string): Promise<BundledPackage> => {
  const manifest: unknown = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  if (!isObject(manifest) || typeof manifest.name !== 'string' || typeof manifest.version !== 'string') {
    throw new Error(`${folder}/package.json has no name and version`)
  }
  const { name, version } = manifest
  const files = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isFile() && LEGAL_FILE.test(entry.name))
  const texts = await Promise.all(
    files.map((entry) => entry.name).toSorted().map(async (file) => ({ file, text: (await readFile(join(folder, file), 'utf8')).trim() })),
  )
  const licence = declaredLicence(manifest)
  if (licence === undefined && !files.some((entry) => LICENCE_FILE.test(entry.name))) {
    throw new Error(`${name} ${version} has neither a licence file nor a licence field: it cannot be bundled`)
  }
  return { name, version, licence: licence ?? 'see the text below', author: nameOf(manifest.author), texts }
}

const RULE = `${'='.repeat(80)}\n`

const section = ({ name, version, licence, author, texts }: BundledPackage): string => {
  const body =
    texts.length === 0
      ? `The package comes without a licence text.${author === '' ? '' : ` Its author is ${author}.`}\n`
      : texts.map(({ file, text }) => `--- ${file} ---\n\n${text}\n`).join('\n')
  return `${RULE}${name} ${version}\nLicence: ${licence}\n\n${body}`
}

const byName = (packages: readonly BundledPackage[]): BundledPackage[] =>
  // The same version may lie in several folders.
  [...new Map(packages.map((each) => [`${each.name} ${each.version}`, each])).values()].toSorted(
    (a, b) => a.name.localeCompare(b.name, 'en') || a.version.localeCompare(b.version, 'en'),
  )

/**
 * The whole notices file: each package once, by name. Pure.
 * @param comments the legal comments that the bundler took out of the code
 */
export const noticesText = (program: string, packages: readonly BundledPackage[], comments: string): string => {
  const listed = byName(packages)
  return [
    `${program} contains the code of ${listed.length} packages, each under its own licence.\n\n`,
    listed.map(section).join('\n'),
    comments.trim() === '' ? '' : `\n${RULE}Legal comments in their code\n\n${comments.trim()}\n`,
  ].join('')
}
