import { Counter, type Registry } from 'prom-client'

/** A certificate was loaded, or what was found cannot be used. */
export type CertificateLoad = 'loaded' | 'refused'

/** Counts serving certificates, for every role that has one. */
export const createCertificateCounter = (register: Registry): ((result: CertificateLoad) => void) => {
  const loads = new Counter({
    name: 'access_gate_certificate_loads_total',
    help: 'Serving certificates loaded, or refused because they cannot be used.',
    labelNames: ['result'],
    registers: [register],
  })
  return (result) => loads.inc({ result })
}
