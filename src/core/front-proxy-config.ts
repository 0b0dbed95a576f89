/** How the API server proves to other servers whom a request comes from: ConfigMap kube-system/extension-apiserver-authentication. */
import type { ConfigMap } from '../api/config-map.ts'
import { messageOf } from '../errors.ts'

export const FRONT_PROXY_CONFIG_MAP = { namespace: 'kube-system', name: 'extension-apiserver-authentication' } as const

export interface FrontProxyConfig {
  /** PEM of the CAs that sign the front proxy's certificate. */
  caPem: string
  /** Common names of its certificate; empty: any. */
  allowedNames: readonly string[]
  /** All in lower case. */
  usernameHeaders: readonly string[]
  uidHeaders: readonly string[]
  groupHeaders: readonly string[]
  extraPrefixes: readonly string[]
  /** PEM of the CAs of the cluster's client certificates; empty when there are none. */
  clientCaPem: string
}

export type FrontProxyReading = { ok: true; config: FrontProxyConfig } | { ok: false; problem: string }

const WHERE = `ConfigMap ${FRONT_PROXY_CONFIG_MAP.namespace}/${FRONT_PROXY_CONFIG_MAP.name}`

const listIn = (data: Readonly<Record<string, string>>, key: string): string[] => {
  const text = data[key] ?? ''
  if (text === '') return []
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch (error) {
    throw new Error(`${key} is no JSON: ${messageOf(error)}`, { cause: error })
  }
  if (!Array.isArray(list) || !list.every((item) => typeof item === 'string')) throw new Error(`${key} is no list of strings`)
  return list
}

const headersIn = (data: Readonly<Record<string, string>>, key: string): string[] => listIn(data, key).map((name) => name.trim().toLowerCase()).filter((name) => name !== '')

/** Whatever cannot be used as a whole is not used in parts: then nobody is trusted. */
export const readFrontProxyConfig = (configMap: ConfigMap | undefined): FrontProxyReading => {
  if (configMap === undefined) return { ok: false, problem: `${WHERE} does not exist; the API server makes it when it starts` }
  const data = configMap.data ?? {}
  try {
    const config: FrontProxyConfig = {
      caPem: data['requestheader-client-ca-file'] ?? '',
      allowedNames: listIn(data, 'requestheader-allowed-names'),
      usernameHeaders: headersIn(data, 'requestheader-username-headers'),
      uidHeaders: headersIn(data, 'requestheader-uid-headers'),
      groupHeaders: headersIn(data, 'requestheader-group-headers'),
      extraPrefixes: headersIn(data, 'requestheader-extra-headers-prefix'),
      clientCaPem: data['client-ca-file'] ?? '',
    }
    if (config.caPem.trim() === '' || config.usernameHeaders.length === 0)
      return { ok: false, problem: `${WHERE} names no front proxy; start the API server with --requestheader-client-ca-file and --requestheader-username-headers` }
    return { ok: true, config }
  } catch (error) {
    return { ok: false, problem: `${WHERE} cannot be used: ${messageOf(error)}` }
  }
}
