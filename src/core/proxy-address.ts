import type { Connector } from '../api/connector.ts'
import { connectorText } from './gate.ts'
import { fromBase64 } from './go-template/base64.ts'
import { parseUrl, percentEncoded } from './go-template/url-text.ts'
import { own } from './json-shape.ts'
import type { ConnectorKey } from './request-identity.ts'

/** Where the proxy of a Connector answers. */
export interface ProxyAddress {
  /** As the Connector's status says it. */
  url: string
  scheme: 'http' | 'https'
  /** Name or address, with the port where one is written; nothing in it is special to a shell or in an address. */
  host: string
  /** PEM; undefined when the Connector names none. */
  caCert: string | undefined
}

export type ProxyAddressReading = { ok: true; address: ProxyAddress } | { ok: false; problem: string }

const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/

export const connectorKey = ({ metadata }: Connector): ConnectorKey => ({ namespace: metadata.namespace ?? '', name: metadata.name })

const bad = (problem: string): ProxyAddressReading => ({ ok: false, problem })

/** The certificates of the proxy; false for what is no base64 of text, and for a private key, which nobody may be handed. */
const readCaCert = (encoded: unknown): string | undefined | false => {
  if (encoded === undefined || encoded === null || encoded === '') return undefined
  const text = typeof encoded === 'string' ? fromBase64(encoded) : undefined
  return text === undefined || text.includes('PRIVATE KEY') ? false : text
}

/** The proxy as `status.proxy.httpAddress` names it. It is never made up from the name of the Connector. */
export const readProxyAddress = (connector: Connector): ProxyAddressReading => {
  const name = connectorText(connectorKey(connector))
  const given: unknown = connector.status?.proxy?.httpAddress
  const url = own(given, 'url')
  if (typeof url !== 'string' || url === '') return bad(`${name} has no proxy address (status.proxy.httpAddress.url): its ConnectorClass needs a proxy that is ready`)
  const parts = parseUrl(url)
  if (parts === undefined || (parts.scheme !== 'http' && parts.scheme !== 'https') || !HOST.test(parts.host)) {
    return bad(`the proxy address of ${name} (status.proxy.httpAddress.url) must be http:// or https:// with a host`)
  }
  if (parts.userinfo !== '') return bad(`the proxy address of ${name} (status.proxy.httpAddress.url) must name no user; a volume adds its own`)
  const caCert = readCaCert(own(given, 'CACerts'))
  if (caCert === false) return bad(`status.proxy.httpAddress.CACerts of ${name} must be base64 of PEM certificates, without a private key`)
  return { ok: true, address: { url, scheme: parts.scheme, host: parts.host, caCert } }
}

/**
 * The forward proxy with the credentials in it: the Connectors are the user, the token is the password.
 * Needs no quotes in a POSIX shell, whatever the token is.
 */
export const forwardProxyUrl = ({ scheme, host }: ProxyAddress, connectors: readonly ConnectorKey[], token: string): string => {
  const user = connectors.map(({ namespace, name }) => `${percentEncoded(namespace)}%2F${percentEncoded(name)}`).join(',')
  return `${scheme}://${user}:${percentEncoded(token)}@${host}`
}
