import { DEFAULT_CERTIFICATE_TIMES, type CertificateOptions, type CertificateTimes } from '../src/serving/options.ts'

export interface WebhookOptions extends CertificateTimes {
  /** Address to listen on with TLS. Default: `::`, all addresses. */
  host: string
  /** TLS port; 0 takes a free one. Default 8443. */
  port: number
  /** Address of the plain metrics and health server. Default: `::`. */
  metricsHost: string
  /** Its port; 0 takes a free one. Default 8080. */
  metricsPort: number
  /** Default: self-signed with the names of the shipped manifests. */
  certificate: CertificateOptions
  /** Name of both webhook configurations, whose caBundle is kept when the certificate is self-signed. */
  configurationName: string
  /** PEM file with the CAs of client certificates; when given, a client without one is refused in the handshake. Read again when it changes. */
  clientCaFile?: string
  /** How long the Pod hook may take, milliseconds; its timeoutSeconds is 3. Default 2,500. */
  podDeadlineMs: number
  /** How many Pods are looked at at once; each takes some calls to the API server. Default 32. */
  podsAtOnce: number
  /** How many more may wait for that, within the same deadline; Pods beyond are admitted at once, with a warning. Default 512. */
  podsWaiting: number
  /** How long an AccessPolicy waits for its templates to be read, milliseconds. Default 1,000. */
  policyReadMs: number
  /** How long the server goes on serving after it was told to stop, milliseconds. Default 10,000. */
  drainMs: number
  /** How long calls in flight may take after that, milliseconds. Default 5,000. */
  closeMs: number
}

export const DEFAULT_WEBHOOK_OPTIONS: WebhookOptions = {
  host: '::',
  port: 8443,
  metricsHost: '::',
  metricsPort: 8080,
  certificate: { kind: 'self-signed', serviceName: 'access-gate-webhook', secretName: 'access-gate-webhook-tls' },
  configurationName: 'access-gate',
  ...DEFAULT_CERTIFICATE_TIMES,
  podDeadlineMs: 2_500,
  podsAtOnce: 32,
  podsWaiting: 512,
  policyReadMs: 1_000,
  drainMs: 10_000,
  closeMs: 5_000,
}
