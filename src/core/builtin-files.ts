import { forwardProxyUrl, type ProxyAddress } from './proxy-address.ts'
import type { ConnectorKey } from './request-identity.ts'

/** Where the proxy is not asked: nothing that a Connector stands for answers there. */
const NO_PROXY = 'localhost,127.0.0.1'

/** Every name that a built-in file may have; a volume may leave out each of them. */
export const BUILTIN_FILES: readonly string[] = ['.env', 'http.proxy', 'https.proxy', 'context.token', 'context.proxy.caCert', 'ca.crt', 'ca.cert', 'connector.status.proxyAddress']

/**
 * The files that every volume holds. Those of one value end without a line end, so that a program may take them as they are.
 * The three of the CA are there only when there is one: an empty one would make tools trust nothing, or stop.
 * @param proxy that of the last Connector
 * @param connectors all of the volume, in their order
 */
export const builtinFiles = (proxy: ProxyAddress, connectors: readonly ConnectorKey[], token: string): [string, string][] => {
  const url = forwardProxyUrl(proxy, connectors, token)
  const { caCert } = proxy
  return [
    // No quotes, no "export": a shell that sources it and a reader of plain key=value lines must find the same.
    ['.env', `http_proxy=${url}\nhttps_proxy=${url}\nno_proxy=${NO_PROXY}\n`],
    ['http.proxy', url],
    ['https.proxy', url],
    ['context.token', token],
    ['connector.status.proxyAddress', proxy.url],
    ...(caCert === undefined ? [] : ['context.proxy.caCert', 'ca.crt', 'ca.cert'].map((name): [string, string] => [name, caCert])),
  ]
}
