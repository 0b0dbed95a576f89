/** All that can be asked of the extension API. */
import type { Logger } from 'pino'
import type { Tokens } from '../../jwt/tokens.ts'
import type { Clock, Permission, Reader } from '../../kube/ports.ts'
import { systemTimers, type Timers } from '../../kube/timers.ts'
import type { ExtensionOptions } from '../options.ts'
import type { ReviewKind } from '../review-kind.ts'
import { bearerTokenReview } from './bearer-token-review.ts'
import { connectionAccessReview } from './connection-access-review.ts'
import { createConnectionCheck } from './connection-check.ts'
import { connectorAccessReview } from './connector-access-review.ts'
import { createPluginClient } from './plugin-client.ts'
import { createUsedTokens } from './used-tokens.ts'
import { workspaceConnection } from './workspace-connection.ts'

export interface ReviewDeps {
  reader: Pick<Reader, 'get' | 'list'>
  permission: Permission
  /** undefined: no Secret of signing keys is configured, so that none is signed and none is good. */
  tokens: Pick<Tokens, 'sign' | 'verify'> | undefined
  clock: Clock
  /** Left out: real time. */
  timers?: Timers
  logger: Logger
  options: Pick<ExtensionOptions, 'reviewGroup' | 'reviewResource' | 'reviewAuthenticatedGroup' | 'pluginEndpoints' | 'tokenTtlMs'>
}

export const reviewKinds = ({ reader, permission, tokens, clock, timers = systemTimers, logger, options }: ReviewDeps): ReviewKind[] => {
  // One for both: what is asked by a review and by a connection at the same moment is read once.
  const check = createConnectionCheck({ reader, permission, clock, options })
  const plugins = createPluginClient({ endpoints: options.pluginEndpoints, timers, logger })
  return [
    connectionAccessReview({ check, logger }),
    workspaceConnection({ reader, check, tokens, tokenTtlMs: options.tokenTtlMs, plugins, logger }),
    bearerTokenReview({ tokens, used: createUsedTokens(clock), logger }),
    connectorAccessReview({ reader, permission, clock, logger }),
  ]
}
