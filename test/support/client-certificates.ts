/** Certificates of callers, each set by a CA of its own. */
import { generate } from 'selfsigned'

export interface ClientCertificates {
  caPem: string
  cert: string
  key: string
}

const HOUR_MS = 3_600_000

/** @param name of the CA and the caller */
export const clientCertificates = async (name: string): Promise<ClientCertificates> => {
  const now = Date.now()
  const validity = { keyType: 'ec' as const, algorithm: 'sha256', notBeforeDate: new Date(now - HOUR_MS), notAfterDate: new Date(now + 24 * HOUR_MS) }
  const ca = await generate([{ name: 'commonName', value: `${name}-ca` }], {
    ...validity,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, critical: true },
    ],
  })
  const leaf = await generate([{ name: 'commonName', value: name }], {
    ...validity,
    ca: { cert: ca.cert, key: ca.private },
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', clientAuth: true },
    ],
  })
  return { caPem: ca.cert, cert: leaf.cert, key: leaf.private }
}
