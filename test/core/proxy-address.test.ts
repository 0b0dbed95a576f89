import { test } from 'tap'
import type { Connector } from '../../src/api/connector.ts'
import { forwardProxyUrl, readProxyAddress, type ProxyAddressReading } from '../../src/core/proxy-address.ts'

const CA = '-----BEGIN CERTIFICATE-----\nZm9y\n-----END CERTIFICATE-----\n'

const connectorWith = (httpAddress: unknown): Connector =>
  ({ apiVersion: 'connectors.alauda.io/v1alpha1', kind: 'Connector', metadata: { namespace: 'dev', name: 'git' }, status: { proxy: { httpAddress } } }) as Connector

const good = (url: string, scheme: 'http' | 'https', host: string, caCert?: string): ProxyAddressReading => ({ ok: true, address: { url, scheme, host, caCert } })
const bad = (problem: string): ProxyAddressReading => ({ ok: false, problem })

const NONE = bad('Connector dev/git has no proxy address (status.proxy.httpAddress.url): its ConnectorClass needs a proxy that is ready')
const NO_HTTP = bad('the proxy address of Connector dev/git (status.proxy.httpAddress.url) must be http:// or https:// with a host')
const BAD_CA = bad('status.proxy.httpAddress.CACerts of Connector dev/git must be base64 of PEM certificates, without a private key')

const base64 = (text: string | Uint8Array): string => Buffer.from(text).toString('base64')

const READ: Record<string, { given: unknown; reading: ProxyAddressReading }> = {
  'a name': { given: { url: 'http://c-git.dev.svc' }, reading: good('http://c-git.dev.svc', 'http', 'c-git.dev.svc') },
  'a port and a path': { given: { url: 'https://proxy.svc:8443/namespaces/dev/connectors/git' }, reading: good('https://proxy.svc:8443/namespaces/dev/connectors/git', 'https', 'proxy.svc:8443') },
  'an address': { given: { url: 'http://10.0.0.7:80' }, reading: good('http://10.0.0.7:80', 'http', '10.0.0.7:80') },
  'an address of IPv6': { given: { url: 'http://[fd00::7]:80/' }, reading: good('http://[fd00::7]:80/', 'http', '[fd00::7]:80') },
  'a scheme in capitals': { given: { url: 'HTTP://proxy.svc' }, reading: good('HTTP://proxy.svc', 'http', 'proxy.svc') },
  'certificates': { given: { url: 'http://p', CACerts: base64(CA) }, reading: good('http://p', 'http', 'p', CA) },
  'certificates in lines of base64': { given: { url: 'http://p', CACerts: base64(CA).replaceAll(/(.{20})/g, '$1\n') }, reading: good('http://p', 'http', 'p', CA) },
  'no certificates': { given: { url: 'http://p', CACerts: '' }, reading: good('http://p', 'http', 'p') },
  'nothing': { given: undefined, reading: NONE },
  'no address': { given: { CACerts: base64(CA) }, reading: NONE },
  'an empty address': { given: { url: '' }, reading: NONE },
  'an address that is no text': { given: { url: 7 }, reading: NONE },
  'no scheme': { given: { url: 'c-git.dev.svc' }, reading: NO_HTTP },
  'another scheme': { given: { url: 'socks5://p' }, reading: NO_HTTP },
  'no host': { given: { url: 'http:///x' }, reading: NO_HTTP },
  'a host that a shell would run': { given: { url: 'http://p`id`' }, reading: NO_HTTP },
  'a host in quotes': { given: { url: 'http://p"x' }, reading: NO_HTTP },
  'a line end': { given: { url: 'http://p\nx=y' }, reading: NO_HTTP },
  'a port that is none': { given: { url: 'http://p:http' }, reading: NO_HTTP },
  'a user': { given: { url: 'http://u@p' }, reading: bad('the proxy address of Connector dev/git (status.proxy.httpAddress.url) must name no user; a volume adds its own') },
  'certificates that are no base64': { given: { url: 'http://p', CACerts: CA }, reading: BAD_CA },
  'certificates that are no text': { given: { url: 'http://p', CACerts: base64(Uint8Array.of(0x30, 0x82, 0xff)) }, reading: BAD_CA },
  'a private key': { given: { url: 'http://p', CACerts: base64(`${CA}-----BEGIN PRIVATE KEY-----`) }, reading: BAD_CA },
}

for (const [name, { given, reading }] of Object.entries(READ)) {
  await test(name, async (t) => {
    t.strictSame(readProxyAddress(connectorWith(given)), reading)
  })
}

await test('the Connectors are the user and the token is the password of the proxy', async (t) => {
  const address = { url: 'https://p:8443/x', scheme: 'https' as const, host: 'p:8443', caCert: undefined }
  const [git, oci] = [{ namespace: 'dev', name: 'git' }, { namespace: 'ops', name: 'harbor.prod' }]
  t.equal(forwardProxyUrl(address, [git], 'a.b-c_d'), 'https://dev%2Fgit:a.b-c_d@p:8443')
  t.equal(forwardProxyUrl(address, [git, oci], 'a@b:c/d e'), 'https://dev%2Fgit,ops%2Fharbor.prod:a%40b%3Ac%2Fd%20e@p:8443')
})
