/** What the shipped manifests tell Node of each role: measured is what runs in a cluster. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { ROOT } from '../project.ts'

/** By the role, which is the first argument of its container. */
const FILES = ['base/700-daemonset-csi.yaml', 'base/700-deployment-controller.yaml', 'base/700-deployment-webhook.yaml', 'extension-base/700-deployment-extension.yaml', 'auth/700-deployment-auth.yaml']

interface Workload {
  spec?: { template?: { spec?: { containers: { args?: string[]; env?: { name: string; value?: string }[] }[] } } }
}

const readOptions = async (): Promise<ReadonlyMap<string, string[]>> => {
  const texts = await Promise.all(FILES.map((file) => readFile(join(ROOT, 'manifests', file), 'utf8')))
  const workloads = texts.flatMap((text) => parseAllDocuments(text).map((document): Workload => document.toJS()))
  const containers = workloads.flatMap(({ spec }) => spec?.template?.spec?.containers ?? [])
  return new Map(containers.map(({ args: [role = ''] = [], env = [] }) => [role, env.find(({ name }) => name === 'NODE_OPTIONS')?.value?.split(' ') ?? []]))
}

let options: Promise<ReadonlyMap<string, string[]>> | undefined

/** Options of Node, as on a command line. @throws Error for a role that no manifest has */
export const nodeOptionsOf = async (role: string): Promise<string[]> => {
  options ??= readOptions()
  const found = (await options).get(role)
  if (found === undefined) throw new Error(`no manifest runs the role "${role}"`)
  return found
}
