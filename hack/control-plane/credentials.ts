/** Keys, certificates and tokens of one control plane, kept in a folder that only its owner reads. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generate } from 'selfsigned'

export interface Certificate {
  certFile: string
  keyFile: string
  certPem: string
}

export interface Credentials {
  /** Signs the API server's certificate; the CA of every kubeconfig. */
  ca: Certificate
  serving: Certificate
  /** Signs who may speak for others to an aggregated API server (request headers). */
  requestHeaderCa: Certificate
  proxyClient: Certificate
  /** With it the API server asks a kubelet for logs, and to run something in a container. Signed by `ca`. */
  kubeletClient: Certificate
  serviceAccountKeyFile: string
  serviceAccountPublicKeyFile: string
  tokenFile: string
  adminToken: string
  controllerManagerToken: string
}

/** The common name of the certificate with which the API server calls an aggregated one. */
export const PROXY_CLIENT_NAME = 'front-proxy-client'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

const OWNER_ONLY = { mode: 0o600 }

interface CertificateRequest {
  name: string
  days: number
  extensions: NonNullable<NonNullable<Parameters<typeof generate>[1]>['extensions']>
  signer?: { key: string; cert: string }
}

const generateFor = ({ name, days, extensions, signer }: CertificateRequest): ReturnType<typeof generate> => {
  const now = Date.now()
  return generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    algorithm: 'sha256',
    // An hour back: a clock that was set right meanwhile does not make it "not yet valid".
    notBeforeDate: new Date(now - HOUR_MS),
    notAfterDate: new Date(now + days * DAY_MS),
    extensions,
    ...(signer !== undefined && { ca: signer }),
  })
}

const write = async (folder: string, name: string, made: { cert: string; private: string }): Promise<Certificate> => {
  const [certFile, keyFile] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)]
  await writeFile(certFile, made.cert, OWNER_ONLY)
  await writeFile(keyFile, made.private, OWNER_ONLY)
  return { certFile, keyFile, certPem: made.cert }
}

/** Kept over restarts: what trusted it goes on to trust it. */
const keepOrMakeCa = async (folder: string, name: string): Promise<Certificate & { keyPem: string }> => {
  const [certFile, keyFile] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)]
  if (!existsSync(certFile) || !existsSync(keyFile)) {
    const extensions: CertificateRequest['extensions'] = [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, digitalSignature: true, critical: true },
    ]
    await write(folder, name, await generateFor({ name: `access-gate ${name}`, days: 3650, extensions }))
  }
  return { certFile, keyFile, certPem: await readFile(certFile, 'utf8'), keyPem: await readFile(keyFile, 'utf8') }
}

/** Made anew at every start: it never expires in a kept folder. */
const makeLeaf = async (folder: string, name: string, ca: { certPem: string; keyPem: string }, request: Omit<CertificateRequest, 'days' | 'signer'>): Promise<Certificate> =>
  write(folder, name, await generateFor({ ...request, days: 365, signer: { key: ca.keyPem, cert: ca.certPem } }))

const LEAF_USAGE: CertificateRequest['extensions'] = [
  { name: 'basicConstraints', cA: false, critical: true },
  { name: 'keyUsage', digitalSignature: true, critical: true },
]

const servingExtensions = (serviceIp: string): CertificateRequest['extensions'] => [
  ...LEAF_USAGE,
  { name: 'extKeyUsage', serverAuth: true },
  {
    name: 'subjectAltName',
    altNames: [
      ...['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'].map((value) => ({ type: 2 as const, value })),
      { type: 7, ip: '127.0.0.1' },
      { type: 7, ip: serviceIp },
    ],
  },
]

const keepOrMakeText = async (file: string, make: () => string): Promise<string> => {
  if (!existsSync(file)) await writeFile(file, make(), OWNER_ONLY)
  return readFile(file, 'utf8')
}

const keepOrMakeServiceAccountKeys = async (keyFile: string, publicKeyFile: string): Promise<void> => {
  if (existsSync(keyFile) && existsSync(publicKeyFile)) return
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  await writeFile(keyFile, privateKey, OWNER_ONLY)
  await writeFile(publicKeyFile, publicKey, OWNER_ONLY)
}

const randomToken = (): string => randomBytes(32).toString('hex')

/** What is in the folder already (CAs, keys, tokens) is used again; the rest is made. */
export const prepareCredentials = async (folder: string, serviceIp: string): Promise<Credentials> => {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const ca = await keepOrMakeCa(folder, 'ca')
  const requestHeaderCa = await keepOrMakeCa(folder, 'request-header-ca')
  const serving = await makeLeaf(folder, 'serving', ca, { name: 'kube-apiserver', extensions: servingExtensions(serviceIp) })
  const proxyClient = await makeLeaf(folder, 'proxy-client', requestHeaderCa, {
    name: PROXY_CLIENT_NAME,
    extensions: [...LEAF_USAGE, { name: 'extKeyUsage', clientAuth: true }],
  })
  const kubeletClient = await makeLeaf(folder, 'kubelet-client', ca, { name: 'kube-apiserver-kubelet-client', extensions: [...LEAF_USAGE, { name: 'extKeyUsage', clientAuth: true }] })
  const [serviceAccountKeyFile, serviceAccountPublicKeyFile] = [join(folder, 'service-account.key'), join(folder, 'service-account.pub')]
  await keepOrMakeServiceAccountKeys(serviceAccountKeyFile, serviceAccountPublicKeyFile)
  const adminToken = await keepOrMakeText(join(folder, 'admin.token'), randomToken)
  const controllerManagerToken = await keepOrMakeText(join(folder, 'controller-manager.token'), randomToken)
  const tokenFile = join(folder, 'tokens.csv')
  // token, user, uid, "groups"
  const users = [`${adminToken},admin,admin,"system:masters"`, `${controllerManagerToken},system:kube-controller-manager,kube-controller-manager`]
  await writeFile(tokenFile, `${users.join('\n')}\n`, OWNER_ONLY)
  return { ca, serving, requestHeaderCa, proxyClient, kubeletClient, serviceAccountKeyFile, serviceAccountPublicKeyFile, tokenFile, adminToken, controllerManagerToken }
}
