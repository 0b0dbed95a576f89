import type { WebhookConfiguration } from '../src/api/webhook-configuration.ts'
import type { Reader, Writer } from '../src/kube/ports.ts'
import { MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS } from '../src/kube/resources.ts'
import { caTarget, type CaTarget } from '../src/serving/ca-trust.ts'

const carries = ({ webhooks = [] }: WebhookConfiguration, caBundle: string): boolean => webhooks.every(({ clientConfig }) => clientConfig.caBundle === caBundle)

const withBundle = (configuration: WebhookConfiguration, caBundle: string): WebhookConfiguration => ({
  ...configuration,
  webhooks: (configuration.webhooks ?? []).map((webhook) => ({ ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } })),
})

/** @param name of the MutatingWebhookConfiguration and of the ValidatingWebhookConfiguration */
export const webhookCaTargets = (kube: { reader: Reader; writer: Writer }, name: string): CaTarget[] =>
  [MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS].map((resource) => caTarget(kube, { resource, name, carries, withBundle }))
