import type { Logger } from 'pino'
import { CSI_DRIVER } from '../api/names.ts'
import type { Handlers } from './calls.ts'
import { readRegistrationStatus } from './wire/messages.ts'

export interface RegistrationMetrics {
  /** kubelet said what became of the registration. */
  registered(ok: boolean): void
}

/** What kubelet may choose from: it takes this one for all of CSI 1.x. */
const CSI_VERSIONS = ['1.0.0']

/**
 * The service that kubelet asks when it finds the registration socket. After a refusal it asks again by itself, so that the plugin goes on.
 * @param kubeletEndpoint path of the CSI socket as kubelet sees it
 */
export const registrationHandlers = (kubeletEndpoint: string, logger: Logger, metrics: RegistrationMetrics): Handlers<'pluginregistration.Registration'> => ({
  GetInfo: () => ({ type: 'CSIPlugin', name: CSI_DRIVER, endpoint: kubeletEndpoint, supportedVersions: CSI_VERSIONS }),
  NotifyRegistrationStatus(message) {
    const { registered, error } = readRegistrationStatus(message)
    metrics.registered(registered)
    if (registered) logger.info({ driver: CSI_DRIVER }, 'kubelet took in the plugin')
    else logger.error({ driver: CSI_DRIVER, kubeletEndpoint, reason: error }, 'kubelet did not take in the plugin; volumes of this node cannot be mounted until it does')
    return {}
  },
})
