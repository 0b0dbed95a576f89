/** Whether the certificate that a client showed is one of given CAs. Asked anew when the CAs change: the handshake knew only those of its time. */
import { X509Certificate } from 'node:crypto'
import { CodedError, messageOf } from '../errors.ts'

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'

/** @param what where it comes from, for the message. @throws CodedError CONFIG_INVALID */
export const readAuthorities = (pem: string, what: string): X509Certificate[] => {
  const blocks = pem.match(CERTIFICATE) ?? []
  try {
    if (blocks.length === 0) throw new Error('there is no certificate in it')
    return blocks.map((block) => new X509Certificate(block))
  } catch (error) {
    throw new CodedError('CONFIG_INVALID', `${what} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

export interface PeerSubject {
  commonName: string
  organizations: string[]
}

const textsIn = (value: unknown): string[] => {
  if (Array.isArray(value)) return value.filter((item) => typeof item === 'string')
  return typeof value === 'string' ? [value] : []
}

/** @returns undefined for a subject without one single common name */
export const subjectOf = (certificate: X509Certificate): PeerSubject | undefined => {
  const { subject } = certificate.toLegacyObject()
  const names = textsIn(subject.CN)
  const [commonName] = names
  return commonName === undefined || commonName === '' || names.length > 1 ? undefined : { commonName, organizations: textsIn(subject.O) }
}

/** Named for clients in so many words: a certificate for anything is not taken. */
export const isForClients = (certificate: X509Certificate): boolean => certificate.keyUsage?.includes(CLIENT_AUTH) ?? false

const isCurrent = ({ validFrom, validTo }: X509Certificate, now: number): boolean => Date.parse(validFrom) <= now && now <= Date.parse(validTo)

const isIssuedBy = (certificate: X509Certificate, issuer: X509Certificate, now: number): boolean =>
  issuer.ca && isCurrent(issuer, now) && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)

/**
 * Whether one of the CAs signed the certificate itself.
 * @param now milliseconds
 * @returns until when that is good, milliseconds; undefined when none did
 */
export const issuedUntil = (leaf: X509Certificate, authorities: readonly X509Certificate[], now: number): number | undefined => {
  if (!isCurrent(leaf, now)) return undefined
  const authority = authorities.find((one) => isIssuedBy(leaf, one, now))
  return authority === undefined ? undefined : Math.min(Date.parse(leaf.validTo), Date.parse(authority.validTo))
}
