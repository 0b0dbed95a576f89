import { DEFAULT_SERVING_OPTIONS, type ServingOptions } from '../src/serving/options.ts'

export interface WebhookOptions extends ServingOptions {
  /** TLS port; 0 takes a free one. Default 8443. */
  port: number
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
}

export const DEFAULT_WEBHOOK_OPTIONS: WebhookOptions = {
  ...DEFAULT_SERVING_OPTIONS,
  port: 8443,
  certificate: { kind: 'self-signed', serviceName: 'access-gate-webhook', secretName: 'access-gate-webhook-tls' },
  configurationName: 'access-gate',
  podDeadlineMs: 2_500,
  podsAtOnce: 32,
  podsWaiting: 512,
  policyReadMs: 1_000,
}
