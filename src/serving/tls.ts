import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Server } from 'node:https'
import { CodedError, messageOf } from '../errors.ts'

/** PEM. The certificate may be followed by the ones between it and its CA. */
export interface CertificatePair {
  cert: string
  key: string
}

/** @throws CodedError CONFIG_INVALID for anything that could not be served with; the message never quotes the key */
export const checkPair = ({ cert, key }: CertificatePair): X509Certificate => {
  let certificate: X509Certificate
  let matches: boolean
  try {
    certificate = new X509Certificate(cert)
    matches = certificate.checkPrivateKey(createPrivateKey(key))
  } catch (error) {
    throw new CodedError('CONFIG_INVALID', `the certificate or its key cannot be read: ${messageOf(error)}`, { cause: error })
  }
  if (!matches) throw new CodedError('CONFIG_INVALID', 'the key does not belong to the certificate')
  return certificate
}

const checkCa = (pem: string): string => new X509Certificate(pem).subject

/** What the server presents, and whose client certificates it takes. Both change without a restart; open connections stay as they are. */
export interface ServingTls {
  /** Everything that a handshake needs is there. */
  readonly loaded: boolean
  /** @throws CodedError CONFIG_INVALID; what was served before stays */
  setCertificate(pair: CertificatePair): void
  /** @param pem the CAs of client certificates. @throws CodedError CONFIG_INVALID; what was trusted before stays */
  setClientCa(pem: string): void
}

/** @param clientCa whether clients need a certificate: then nothing is served before the CA is set */
export const createServingTls = (server: Pick<Server, 'setSecureContext'>, { clientCa }: { clientCa: boolean }): ServingTls => {
  let pair: CertificatePair | undefined
  let ca: string | undefined
  const isLoaded = (): boolean => pair !== undefined && (ca !== undefined || !clientCa)
  const apply = (): void => {
    if (pair !== undefined && isLoaded()) server.setSecureContext({ ...pair, ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' })
  }
  return {
    get loaded() {
      return isLoaded()
    },
    setCertificate: (next) => {
      checkPair(next)
      pair = next
      apply()
    },
    setClientCa: (pem) => {
      try {
        checkCa(pem)
      } catch (error) {
        throw new CodedError('CONFIG_INVALID', `the client CA cannot be read: ${messageOf(error)}`, { cause: error })
      }
      ca = pem
      apply()
    },
  }
}
