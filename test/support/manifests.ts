/** The shipped manifests, as tests read them: the files that the kustomizations list, before any overlay's patch. */
import { readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'

export interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> }
  [field: string]: unknown
}

export const MANIFESTS = resolve(import.meta.dirname, '../../manifests')

/** All objects of a YAML text. @throws Error for bad YAML */
export const parseManifests = (text: string): Manifest[] =>
  parseAllDocuments(text).map((document) => {
    const [error] = document.errors
    if (error !== undefined) throw error
    const manifest: Manifest = document.toJS()
    return manifest
  })

/** All objects below a folder of manifests, in the order in which its kustomization lists them. */
export const readManifests = async (folder: string): Promise<Manifest[]> => {
  const { resources = [] }: { resources?: string[] } = parse(await readFile(join(MANIFESTS, folder, 'kustomization.yaml'), 'utf8'))
  const parts = await Promise.all(
    resources.map(async (resource) => {
      const path = join(folder, resource)
      const isFolder = (await stat(join(MANIFESTS, path))).isDirectory()
      return isFolder ? readManifests(path) : parseManifests(await readFile(join(MANIFESTS, path), 'utf8'))
    }),
  )
  return parts.flat()
}

/** The one object of this kind and name. @throws Error when there is none */
export const manifestOf = (manifests: readonly Manifest[], kind: string, name: string): Manifest => {
  const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name)
  if (found === undefined) throw new Error(`there is no ${kind} ${name}`)
  return found
}
