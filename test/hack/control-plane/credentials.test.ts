import { createPrivateKey, createPublicKey, sign, verify, X509Certificate } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { prepareCredentials, PROXY_CLIENT_NAME } from '../../../hack/control-plane/credentials.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

await test('the API server is trusted by its CA, for the names by which it is called', async (t) => {
  const { ca, serving } = await prepareCredentials(join(await temporaryFolder(t), 'pki'), '10.0.0.1')
  const [authority, certificate] = [new X509Certificate(ca.certPem), new X509Certificate(serving.certPem)]
  t.ok(authority.ca)
  t.notOk(certificate.ca)
  t.ok(certificate.checkIssued(authority) && certificate.verify(authority.publicKey))
  for (const host of ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc']) t.equal(certificate.checkHost(host), host)
  for (const ip of ['127.0.0.1', '10.0.0.1']) t.equal(certificate.checkIP(ip), ip)
  t.ok(certificate.checkPrivateKey(createPrivateKey(await readFile(serving.keyFile))))
})

await test('the front proxy has a CA of its own: who serves the API does not speak for others', async (t) => {
  const { ca, serving, requestHeaderCa, proxyClient } = await prepareCredentials(join(await temporaryFolder(t), 'pki'), '10.0.0.1')
  const authority = new X509Certificate(requestHeaderCa.certPem)
  const certificate = new X509Certificate(proxyClient.certPem)
  t.equal(certificate.subject, `CN=${PROXY_CLIENT_NAME}`)
  t.ok(certificate.verify(authority.publicKey))
  t.notOk(new X509Certificate(serving.certPem).verify(authority.publicKey))
  t.notOk(certificate.verify(new X509Certificate(ca.certPem).publicKey))
})

await test('the API server proves to a kubelet who it is; what serves the API cannot', async (t) => {
  const { ca, serving, kubeletClient } = await prepareCredentials(join(await temporaryFolder(t), 'pki'), '10.0.0.1')
  const certificate = new X509Certificate(kubeletClient.certPem)
  t.ok(certificate.verify(new X509Certificate(ca.certPem).publicKey))
  t.strictSame(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'client authentication alone')
  t.strictSame(new X509Certificate(serving.certPem).keyUsage, ['1.3.6.1.5.5.7.3.1'], 'server authentication alone')
})

await test('a second start in the same folder keeps CA, keys and tokens', async (t) => {
  const folder = join(await temporaryFolder(t), 'pki')
  const first = await prepareCredentials(folder, '10.0.0.1')
  const key = await readFile(first.serviceAccountKeyFile, 'utf8')
  const second = await prepareCredentials(folder, '10.0.0.1')
  t.equal(second.ca.certPem, first.ca.certPem)
  t.equal(second.requestHeaderCa.certPem, first.requestHeaderCa.certPem)
  t.equal(second.adminToken, first.adminToken)
  t.equal(second.controllerManagerToken, first.controllerManagerToken)
  t.equal(await readFile(second.serviceAccountKeyFile, 'utf8'), key)
  t.ok(new X509Certificate(second.serving.certPem).verify(new X509Certificate(first.ca.certPem).publicKey))
})

await test('two control planes share nothing', async (t) => {
  const [one, other] = [await prepareCredentials(await temporaryFolder(t), '10.0.0.1'), await prepareCredentials(await temporaryFolder(t), '10.0.0.1')]
  t.not(one.adminToken, other.adminToken)
  t.not(one.ca.certPem, other.ca.certPem)
})

await test('the keys of ServiceAccount tokens belong together', async (t) => {
  const made = await prepareCredentials(await temporaryFolder(t), '10.0.0.1')
  const text = Buffer.from('token')
  const signature = sign('sha256', text, createPrivateKey(await readFile(made.serviceAccountKeyFile)))
  t.ok(verify('sha256', text, createPublicKey(await readFile(made.serviceAccountPublicKeyFile)), signature))
})

await test('only the owner reads what is secret', async (t) => {
  const folder = join(await temporaryFolder(t), 'pki')
  await prepareCredentials(folder, '10.0.0.1')
  t.equal((await stat(folder)).mode & 0o777, 0o700)
  for (const file of await readdir(folder)) t.equal((await stat(join(folder, file))).mode & 0o777, 0o600, file)
})
