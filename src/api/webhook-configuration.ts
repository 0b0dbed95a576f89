import type { KubeObject } from './meta.ts'

/** A MutatingWebhookConfiguration or ValidatingWebhookConfiguration, as far as this program changes it. */
export interface WebhookConfiguration extends KubeObject {
  webhooks?: Webhook[]
}

export interface Webhook {
  name: string
  clientConfig: {
    /** base64 of the PEM certificates that the API server trusts for this webhook. */
    caBundle?: string
    url?: string
    service?: { namespace: string; name: string; path?: string; port?: number }
  }
}
