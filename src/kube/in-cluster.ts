/**
 * Who a Pod is to the API server, and where that is: its ServiceAccount, which kubelet keeps in a folder and renews there, and the
 * address in its environment. Read by ourselves, because the general reader of credentials takes 30 MB and a third of the start.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { CodedError, errorCode } from '../errors.ts'
import type { Connection, Credentials } from './credentials.ts'
import { KubeError } from './kube-error.ts'

/** Where kubelet puts a Pod's token (`token`) and the certificates of the API server (`ca.crt`). */
export const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount'

export interface InClusterOptions {
  /** Default: SERVICE_ACCOUNT_DIR. */
  serviceAccountDir?: string
  /** KUBERNETES_SERVICE_HOST: a name or an address. */
  host?: string | undefined
  /** KUBERNETES_SERVICE_PORT. */
  port?: string | undefined
}

/** For a program that is told nothing and runs in no Pod. */
export const NO_CONFIGURATION = 'there is neither a kubeconfig nor a ServiceAccount of a Pod to reach Kubernetes with; give --kubeconfig, or run it in a Pod'

type Reading<T> = { ok: true; value: T } | { ok: false; problem: string }

/** What a header can carry, which every token can. */
const TOKEN = /^[\x21-\x7e]+$/
const HOST = /^[A-Za-z0-9][A-Za-z0-9.-]*$/

const readText = async (what: string, file: string): Promise<Reading<string>> => {
  try {
    return { ok: true, value: (await readFile(file, 'utf8')).trim() }
  } catch (error) {
    return { ok: false, problem: `${what} cannot be read: ${file} (${errorCode(error) ?? 'no file'}); a Pod has it there unless it turns off automountServiceAccountToken` }
  }
}

/** No message quotes what a file holds. */
const readAccount = async (folder: string): Promise<Reading<Credentials>> => {
  const [tokenFile, caFile] = [join(folder, 'token'), join(folder, 'ca.crt')]
  const [token, ca] = await Promise.all([readText('the token of the ServiceAccount', tokenFile), readText('the certificates of the API server', caFile)])
  if (!token.ok) return token
  if (!ca.ok) return ca
  if (!TOKEN.test(token.value)) return { ok: false, problem: `${tokenFile} holds no token of a ServiceAccount` }
  if (!ca.value.includes('-----BEGIN CERTIFICATE-----')) return { ok: false, problem: `${caFile} holds no certificate` }
  return { ok: true, value: { headers: { Authorization: `Bearer ${token.value}` }, tls: { ca: ca.value } } }
}

const readServer = (host = '', port = ''): Reading<URL> => {
  const missing = Object.entries({ KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port }).flatMap(([name, value]) => (value === '' ? [name] : []))
  if (missing.length > 0) return { ok: false, problem: `the environment does not say where the API server is: ${missing.join(' and ')} must be set, as in every Pod` }
  const number = Number(port)
  if (!/^\d+$/.test(port) || number < 1 || number > 65_535) return { ok: false, problem: `KUBERNETES_SERVICE_PORT must be a port; got ${JSON.stringify(port)}` }
  if (!isIPv6(host) && !HOST.test(host)) return { ok: false, problem: `KUBERNETES_SERVICE_HOST must be a name or an address; got ${JSON.stringify(host)}` }
  return { ok: true, value: new URL(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`) }
}

/** @throws CodedError CONFIG_INVALID for what is missing or no use */
const required = <T>(reading: Reading<T>): T => {
  if (reading.ok) return reading.value
  throw new CodedError('CONFIG_INVALID', reading.problem)
}

/** @throws CodedError CONFIG_INVALID when there is no such account or address; from `load`, KUBE_UNAVAILABLE, for it may come back */
export const inClusterConnection = async ({ serviceAccountDir: given, host, port }: InClusterOptions): Promise<Connection> => {
  const serviceAccountDir = given ?? SERVICE_ACCOUNT_DIR
  // Who is in no Pod wants to hear of kubeconfigs, not of this folder.
  if (given === undefined && !existsSync(serviceAccountDir)) throw new CodedError('CONFIG_INVALID', NO_CONFIGURATION)
  required(await readAccount(serviceAccountDir))
  return {
    server: required(readServer(host, port)),
    dynamic: true,
    load: async () => {
      const account = await readAccount(serviceAccountDir)
      if (!account.ok) throw new KubeError('KUBE_UNAVAILABLE', account.problem)
      return account.value
    },
  }
}
