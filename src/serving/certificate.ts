/** Certificates of our own making: a root CA that lives long, and a serving certificate that it signs and that is renewed often. */
import { X509Certificate } from 'node:crypto'
import type { generate as generateType } from 'selfsigned'
import { checkPair, type CertificatePair } from './tls.ts'

const DAY_MS = 24 * 3_600_000
const YEAR_MS = 365 * DAY_MS
export const AUTHORITY_LIFE_MS = 5 * YEAR_MS
export const LEAF_LIFE_MS = 90 * DAY_MS
/** Clocks differ: a new certificate is valid a little into the past. */
const BACKDATED_MS = 3_600_000
/** Renewed when less than this part of its life is left. */
const RENEWED_AT = 1 / 3

/** What all replicas share. PEM throughout. */
export interface CertificateMaterial {
  /** The CA that signs, and after it the ones whose certificates may still be served. */
  caBundle: string
  caKey: string
  leaf: CertificatePair
}

const splitPem = (bundle: string): string[] => bundle.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
const endOf = (certificate: X509Certificate): number => certificate.validToDate.getTime()
const startOf = (certificate: X509Certificate): number => certificate.validFromDate.getTime()

const isDue = (certificate: X509Certificate, now: number): boolean => endOf(certificate) - now < (endOf(certificate) - startOf(certificate)) * RENEWED_AT

type Generate = (...given: Parameters<typeof generateType>) => Promise<CertificatePair>

/** Loaded only where it is used: installations with a certificate of their own never pay for it. */
const generate: Generate = async (attributes, options) => {
  const { generate: generateSelfSigned } = await import('selfsigned')
  const { cert, private: key } = await generateSelfSigned(attributes, options)
  return { cert: `${cert.trim()}\n`, key: `${key.trim()}\n` }
}

const validity = (now: number, lifeMs: number) => ({
  keyType: 'ec' as const,
  curve: 'P-256' as const,
  algorithm: 'sha256',
  notBeforeDate: new Date(now - BACKDATED_MS),
  notAfterDate: new Date(now + lifeMs),
})

/** Each CA has a name of its own, so that a chain is never built over another one of the same name. */
const createAuthority = (now: number): Promise<CertificatePair> =>
  generate([{ name: 'commonName', value: `access-gate-webhook-ca-${now}` }], {
    ...validity(now, AUTHORITY_LIFE_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  })

const createLeaf = (authority: CertificatePair, names: readonly string[], now: number): Promise<CertificatePair> =>
  generate([{ name: 'commonName', value: 'access-gate-webhook' }], {
    ...validity(now, LEAF_LIFE_MS),
    ca: authority,
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: names.map((value) => ({ type: 2 as const, value })) },
    ],
  })

/** The CA that signs, with its key. */
const authorityOf = ({ caBundle, caKey }: CertificateMaterial): CertificatePair => ({ cert: splitPem(caBundle)[0] ?? '', key: caKey })

/** @param names DNS names that the certificate is for. @param now milliseconds since the epoch */
export const createMaterial = async (names: readonly string[], now: number): Promise<CertificateMaterial> => {
  const authority = await createAuthority(now)
  return { caBundle: authority.cert, caKey: authority.key, leaf: await createLeaf(authority, names, now) }
}

/** A new serving certificate of the same CA. */
export const renewLeaf = async (material: CertificateMaterial, names: readonly string[], now: number): Promise<CertificateMaterial> => ({
  ...material,
  leaf: await createLeaf(authorityOf(material), names, now),
})

/**
 * A new CA, ahead of the old one in the bundle. The serving certificate stays: it is signed anew only when it is due and
 * when the bundle is known to be where the API server reads it.
 */
export const renewAuthority = async (material: CertificateMaterial, now: number): Promise<CertificateMaterial> => {
  const authority = await createAuthority(now)
  const kept = splitPem(material.caBundle).filter((pem) => endOf(new X509Certificate(pem)) > now)
  return { ...material, caBundle: [authority.cert, ...kept.map((pem) => `${pem}\n`)].join(''), caKey: authority.key }
}

export type Renewal = 'none' | 'leaf' | 'authority' | 'everything'

/** What is to be renewed next; one thing at a time, unless nothing works any more. */
export const renewalDue = ({ caBundle, leaf }: CertificateMaterial, names: readonly string[], now: number): Renewal => {
  const authorities = splitPem(caBundle).map((pem) => new X509Certificate(pem))
  const [authority] = authorities
  const certificate = new X509Certificate(leaf.cert)
  if (authority === undefined || endOf(authority) <= now) return 'everything'
  const issuer = authorities.find((ca) => endOf(ca) > now && certificate.checkIssued(ca) && certificate.verify(ca.publicKey))
  if (issuer === undefined || endOf(certificate) <= now) return 'leaf'
  if (isDue(authority, now)) return 'authority'
  const outlivesIssuer = endOf(certificate) > endOf(issuer)
  return outlivesIssuer || isDue(certificate, now) || names.some((name) => certificate.checkHost(name) === undefined) ? 'leaf' : 'none'
}

/** Whether the serving certificate can be served with at all. */
export const isServable = ({ leaf }: CertificateMaterial, now: number): boolean => endOf(new X509Certificate(leaf.cert)) > now

/** @throws CodedError CONFIG_INVALID or an Error when it is not what this program writes */
export const checkMaterial = (material: CertificateMaterial): CertificateMaterial => {
  checkPair(authorityOf(material))
  checkPair(material.leaf)
  for (const pem of splitPem(material.caBundle)) startOf(new X509Certificate(pem))
  return material
}
