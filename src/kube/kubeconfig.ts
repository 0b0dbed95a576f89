/**
 * Kubeconfigs, with their plugins and token files, read by @kubernetes/client-node. It takes 30 MB and a third of a start, so client.ts
 * loads this file only when a kubeconfig is given, and nothing else imports either.
 */
import { readFileSync } from 'node:fs'
import type { Agent } from 'node:http'
import type { RequestOptions } from 'node:https'
import path from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { CodedError, messageOf } from '../errors.ts'
import type { Connection, Credentials, TlsMaterial } from './credentials.ts'

export interface KubeconfigOptions {
  /** Path of a kubeconfig, or several as KUBECONFIG joins them. */
  kubeconfig: string
  /** Which context of it; left out: its current one. */
  context?: string
}

const invalid = (message: string): CodedError => new CodedError('CONFIG_INVALID', message)

/** client-node reads no `tokenFile` of a user; as a provider of that name it does. */
const withTokenFiles = (config: KubeConfig, file: string): void => {
  const document: unknown = parse(readFileSync(file, 'utf8'))
  const users: unknown = field(document, 'users')
  for (const entry of Array.isArray(users) ? users : []) {
    const tokenFile = field(field(entry, 'user'), 'tokenFile')
    if (typeof tokenFile !== 'string' || tokenFile === '') continue
    const authProvider = { name: 'tokenFile', config: { tokenFile: path.resolve(path.dirname(file), tokenFile) } }
    config.users = config.users.map((user) => {
      const { token: _outdated, ...others } = user
      return user.name === field(entry, 'name') ? { ...others, authProvider } : user
    })
  }
}

const field = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined)

/** The parser's own message is dropped: it would quote the file, and with it a token. */
const loadFile = (config: KubeConfig, file: string): void => {
  try {
    config.loadFromFile(file)
    withTokenFiles(config, file)
  } catch (error) {
    const code = field(error, 'code')
    const isSystemFault = typeof code === 'string' && /^E[A-Z]+$/.test(code)
    throw invalid(isSystemFault ? `the kubeconfig ${file} cannot be read (${code}); give the path of one that can` : `${file} is no kubeconfig`)
  }
}

const loadFiles = (kubeconfig: string): KubeConfig => {
  const config = new KubeConfig()
  const [first = '', ...others] = kubeconfig.split(path.delimiter).filter((file) => file !== '')
  loadFile(config, first)
  for (const file of others) {
    const other = new KubeConfig()
    loadFile(other, file)
    try {
      // The first current context that a file names counts.
      config.mergeConfig(other, (config.getCurrentContext() ?? '') !== '')
    } catch (error) {
      throw invalid(`the kubeconfig ${file} cannot be joined with ${first}: ${messageOf(error)}`)
    }
  }
  return config
}

const load = ({ kubeconfig, context }: KubeconfigOptions): KubeConfig => {
  const config = loadFiles(kubeconfig)
  if (context !== undefined) config.setCurrentContext(context)
  const name = config.getCurrentContext()
  if (config.getContextObject(name) !== null) return config
  const names = config.getContexts().map((one) => one.name)
  throw invalid(`the kubeconfig ${kubeconfig} has no context ${JSON.stringify(name ?? '')}; it has: ${names.join(', ') || 'none'}`)
}

const serverOf = (config: KubeConfig): URL => {
  const server = config.getCurrentCluster()?.server ?? ''
  if (!/^https?:\/\//.test(server) || !URL.canParse(server)) throw invalid(`the kubeconfig's cluster has no usable server address; got ${JSON.stringify(server)}`)
  return new URL(server)
}

/** Credentials that may change while we run; a token or certificate inside the file does not. */
const isDynamic = (config: KubeConfig): boolean => {
  const user = config.getCurrentUser()
  return [user?.exec, user?.authProvider, user?.certFile, user?.keyFile].some((origin) => origin !== undefined && origin !== null)
}

/** Reads every file and runs the plugin anew, so it is called seldom. Its own agent is used for a proxy alone: it keeps no connection. */
const credentialsOf = async (config: KubeConfig): Promise<Credentials> => {
  const options: RequestOptions = {}
  await config.applyToHTTPSOptions(options)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(options.headers ?? {})) if (typeof value === 'string') headers[name] = value.trim()
  if (typeof options.auth === 'string') headers['Authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`
  const proxy = config.getCurrentCluster()?.proxyUrl === undefined ? undefined : options.agent
  return { headers, tls: tlsOf(options), ...(isAgent(proxy) ? { proxy } : {}) }
}

const isAgent = (value: RequestOptions['agent']): value is Agent => typeof value === 'object'

const tlsOf = (options: RequestOptions): TlsMaterial => {
  const tls: TlsMaterial = {}
  for (const part of ['ca', 'cert', 'key'] as const) {
    const value = options[part]
    if (typeof value === 'string' || Buffer.isBuffer(value)) tls[part] = value
  }
  if (options.servername !== undefined) tls.servername = options.servername
  if (options.rejectUnauthorized !== undefined) tls.rejectUnauthorized = options.rejectUnauthorized
  return tls
}

/** @throws CodedError CONFIG_INVALID when there is no usable configuration */
export const kubeconfigConnection = (options: KubeconfigOptions): Connection => {
  let config = load(options)
  return {
    server: serverOf(config),
    dynamic: isDynamic(config),
    load: (afresh) => {
      // A new one remembers no token; it also sees a kubeconfig that was written again.
      if (afresh) config = load(options)
      return credentialsOf(config)
    },
  }
}
