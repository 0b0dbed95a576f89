import type { Connector } from '../api/connector.ts'
import type { FileTemplate } from './configuration-files.ts'
import { own } from './json-shape.ts'
import type { ProxyAddress } from './proxy-address.ts'

/** What templates may see of a Connector: nothing that speaks of a Secret, not even its name. */
const connectorData = ({ metadata, spec }: Connector, proxy: ProxyAddress | undefined): object => ({
  name: metadata.name,
  metadata: { namespace: metadata.namespace, name: metadata.name },
  spec: {
    connectorClassName: spec?.connectorClassName,
    address: spec?.address,
    addressExtensions: spec?.addressExtensions ?? [],
    params: spec?.params ?? [],
  },
  status: { proxyAddress: proxy?.url },
})

/**
 * The data of one template: the Connectors of its class, the last of them as `.connector`.
 * @param proxies of every Connector of the volume
 */
export const templateData = ({ group, params }: FileTemplate, proxies: ReadonlyMap<Connector, ProxyAddress>, token: string): object => {
  const connectors = group.connectors.map((connector) => connectorData(connector, proxies.get(connector)))
  const last = group.connectors.at(-1)
  const caCert = last === undefined ? undefined : proxies.get(last)?.caCert
  return {
    connector: connectors.at(-1),
    connectors,
    connectorclass: { name: group.name, proxyAddress: own(own(own(own(group.class, 'status'), 'proxy'), 'httpAddress'), 'url') },
    context: { token, proxy: { caCert: caCert ?? '' } },
    configurations: Object.fromEntries(params),
  }
}
