/**
 * The one place that imports @kubernetes/client-node (0.6 s and 130 MB): it reads kubeconfigs, in-cluster accounts, plugins and token
 * files. The connections are ours.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { Agent } from 'node:http'
import type { RequestOptions } from 'node:https'
import path from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { CodedError, messageOf } from '../errors.ts'
import { kubeApi, type KubeApi } from './api.ts'
import { credentialSource, type Credentials, type TlsMaterial } from './credentials.ts'
import { discovery } from './discovery.ts'
import { permission } from './permission.ts'
import type { Discovery, Permission, TokenIssuer } from './ports.ts'
import { systemTimers, type Timers } from './timers.ts'
import { tokenIssuer } from './token-issuer.ts'
import { createTransport } from './transport.ts'

export interface ClientOptions {
  /** Path of a kubeconfig, or several as KUBECONFIG joins them. */
  kubeconfig?: string
  /** Which context of the kubeconfig; left out: its current one. */
  context?: string
  /** true: the Pod's own ServiceAccount, whatever kubeconfig there is. Left out: when no kubeconfig is given. */
  inCluster?: boolean
  userAgent: string
  /** For the whole of one request, and for the head of a watch. Default 10,000. */
  requestTimeoutMs?: number
  /** Default: the system's. */
  timers?: Timers
}

export interface KubeClient extends KubeApi, Discovery, Permission, TokenIssuer {
  /** Where the API server is, for messages. */
  readonly server: string
  /** Closes all connections; later calls fail. */
  close(): void
}

const ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'
const REFRESH_MS = 10_000
/** A plugin may ask a person or a server. */
const CREDENTIAL_TIMEOUT_MS = 30_000

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

const load = ({ kubeconfig, context, inCluster }: ClientOptions): KubeConfig => {
  if (kubeconfig === undefined || kubeconfig === '' || inCluster === true) {
    if (inCluster === false || !existsSync(ACCOUNT_TOKEN))
      throw invalid('there is neither a kubeconfig nor a ServiceAccount of a Pod to reach Kubernetes with; give --kubeconfig, or run it in a Pod')
    const config = new KubeConfig()
    config.loadFromCluster()
    return config
  }
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

/** @throws CodedError CONFIG_INVALID when there is no usable configuration. Connects at the first call. */
export const createClient = (options: ClientOptions): KubeClient => {
  const timers = options.timers ?? systemTimers
  let config = load(options)
  const server = serverOf(config)
  const source = credentialSource({
    load: (afresh) => {
      // A new one remembers no token; it also sees a kubeconfig that was written again.
      if (afresh) config = load(options)
      return credentialsOf(config)
    },
    dynamic: isDynamic(config),
    maxAgeMs: REFRESH_MS,
    timeoutMs: CREDENTIAL_TIMEOUT_MS,
    timers,
  })
  const transport = createTransport({ server, source, userAgent: options.userAgent, requestTimeoutMs: options.requestTimeoutMs ?? 10_000, timers })
  const api = kubeApi(transport)
  return { ...api, ...discovery(api, timers), ...permission(api), ...tokenIssuer(api), server: server.href, close: () => transport.close() }
}
