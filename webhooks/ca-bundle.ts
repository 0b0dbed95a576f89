import type { Logger } from 'pino'
import type { WebhookConfiguration } from '../src/api/webhook-configuration.ts'
import { CodedError, isCoded } from '../src/errors.ts'
import type { Reader, Resource, Writer } from '../src/kube/ports.ts'
import { MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS } from '../src/kube/resources.ts'

export interface CaBundleDeps {
  reader: Reader
  writer: Writer
  logger: Logger
  /** Name of the MutatingWebhookConfiguration and of the ValidatingWebhookConfiguration. */
  configurationName: string
}

const KINDS = [MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS]
const ATTEMPTS = 5

const readConfiguration = async ({ reader, configurationName }: CaBundleDeps, resource: Resource<WebhookConfiguration>): Promise<WebhookConfiguration> => {
  const configuration = await reader.get(resource, undefined, configurationName)
  if (configuration === undefined) throw new CodedError('KUBE_NOT_FOUND', `${resource.kind} ${configurationName} does not exist; apply the manifests`)
  return configuration
}

const carries = (configuration: WebhookConfiguration, caBundle: string): boolean =>
  (configuration.webhooks ?? []).every(({ clientConfig }) => clientConfig.caBundle === caBundle)

const encode = (pem: string): string => Buffer.from(pem).toString('base64')

/** Whether every webhook of ours trusts exactly these CAs. @param pem certificates. @throws CodedError KUBE_* */
export const bundleIsInPlace = async (deps: CaBundleDeps, pem: string): Promise<boolean> => {
  const found = await Promise.all(KINDS.map((resource) => readConfiguration(deps, resource)))
  return found.every((configuration) => carries(configuration, encode(pem)))
}

const putInto = async (deps: CaBundleDeps, resource: Resource<WebhookConfiguration>, caBundle: string): Promise<void> => {
  const { writer, logger, configurationName } = deps
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const configuration = await readConfiguration(deps, resource)
    if (carries(configuration, caBundle)) return
    const webhooks = (configuration.webhooks ?? []).map((webhook) => ({ ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } }))
    try {
      await writer.replace(resource, { ...configuration, webhooks })
      logger.info({ kind: resource.kind, name: configurationName }, 'the CA was put into the webhook configuration')
      return
    } catch (error) {
      if (!isCoded(error, 'KUBE_CONFLICT')) throw error
    }
  }
  throw new CodedError('KUBE_CONFLICT', `${resource.kind} ${configurationName} was changed by others ${ATTEMPTS} times in a row`)
}

/** Makes every webhook of ours trust these CAs; writes only what differs. @throws CodedError KUBE_* */
export const putBundle = async (deps: CaBundleDeps, pem: string): Promise<void> => {
  await Promise.all(KINDS.map((resource) => putInto(deps, resource, encode(pem))))
}
