import { X509Certificate } from 'node:crypto'
import { test } from 'tap'
import { applySamples } from '../../hack/sandbox/manifests.ts'
import type { Connector, ConnectorClass } from '../../src/api/connector.ts'
import { renderFiles } from '../../src/core/mount-files.ts'
import { readVolumeAttributes } from '../../src/core/volume-attributes.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { applyShippedGround } from '../support/shipped-ground.ts'

const cluster = testControlPlane()
await applyShippedGround(cluster)
await applySamples(cluster)

const read = async <T>(...args: string[]): Promise<T> => JSON.parse((await cluster.kubectl(['get', ...args, '-o', 'json'])).stdout)
const connector = await read<Connector>('connector', 'prod-harbor', '-n', 'connectors-shared')
const harbor = await read<ConnectorClass>('connectorclass', 'harbor')

const PROXY = 'http://c-prod-harbor.connectors-shared.svc.cluster.local'

await test('the sample Connector says where its proxy would be, by whose certificate and for which audience', (t) => {
  const { CACerts = '', ...address } = connector.status?.proxy?.httpAddress ?? {}
  t.strictSame(address, { name: 'http', url: PROXY, audience: 'connectors-proxy' })
  t.ok(new X509Certificate(Buffer.from(CACerts, 'base64')).ca)
  t.end()
})

const filesFor = (volumeAttributes: Record<string, string>) => {
  const reading = readVolumeAttributes({ connectors: 'connectors-shared/prod-harbor', ...volumeAttributes }, 'cicd')
  if (!reading.ok) throw new Error(reading.problems.join('; '))
  const pod = { namespace: 'cicd', name: 'build-pod-7x9k2', uid: 'u' }
  return renderFiles({ mount: { attributes: reading.attributes, pod }, connectors: [connector], classes: new Map([['harbor', harbor]]), token: 'token-of-the-pod' })
}

const curl = (project: string): string => `url = "${PROXY}/api/v2.0/projects/${project}"\nheader = "Authorization: Bearer token-of-the-pod"\n`

await test('its class has a configuration for curl, with a parameter', (t) => {
  for (const [params, project] of [[{}, 'library'], [{ 'configuration.params': '{"curl":{"project":"web"}}' }, 'web']] as const) {
    const rendered = filesFor({ 'configuration.names': 'curl', ...params })
    if (!rendered.ok) throw new Error(rendered.failure.message)
    t.equal(rendered.files.get('.curlrc'), curl(project))
    t.equal(rendered.files.get('connector.status.proxyAddress'), PROXY)
  }
  t.end()
})
