import { CSI_DRIVER } from '../api/names.ts'
import type { Health } from '../metrics-server.ts'
import type { Handlers } from './calls.ts'

/** CSI's Identity service: who this is, and that there is no more to it than the Node service. */
export const identityHandlers = (version: string, ready: Health): Handlers<'csi.v1.Identity'> => ({
  GetPluginInfo: () => ({ name: CSI_DRIVER, vendorVersion: version }),
  GetPluginCapabilities: () => ({}),
  Probe: () => ({ ready: { value: ready() === undefined } }),
})
