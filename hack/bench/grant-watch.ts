/** The RoleBindings of grants, as a watch of the measuring client tells of them. */
import type { RoleBinding } from '../../src/api/rbac.ts'
import { ANNOTATION, LABEL } from '../../src/api/names.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { createReflector } from '../../src/kube/reflector.ts'
import { ROLE_BINDINGS } from '../../src/kube/resources.ts'
import { createStore } from '../../src/kube/store.ts'
import { systemClock, systemTimers, withDeadline } from '../../src/kube/timers.ts'
import { createLogger } from '../../src/log.ts'
import { SHARED } from './controller-stage.ts'
import type { BenchEnv } from './section.ts'

export interface GrantWatch {
  readonly size: number
  /** Resolves with the time (performance.now) at which the RoleBinding of a request was seen; ask before it can come. @throws Error after the bound, in milliseconds */
  seen(request: string, boundMs: number): Promise<number>
  /** Resolves with the time at which no more than so many were left. @throws Error after the bound, in milliseconds */
  downTo(size: number, boundMs: number): Promise<number>
}

const late = (what: string, boundMs: number) => (): Error => new Error(`${what} was not seen within ${boundMs / 1000} s`)

export const watchGrants = async (env: BenchEnv, kube: KubeClient): Promise<GrantWatch> => {
  const logger = createLogger({ level: 'warn', destination: process.stderr })
  const store = createStore<RoleBinding>({ log: logger })
  const ending = new AbortController()
  const reflector = createReflector({
    kube,
    resource: ROLE_BINDINGS,
    namespace: SHARED,
    labelSelector: LABEL.accessRequest,
    store,
    clock: systemClock,
    timers: systemTimers,
    random: Math.random,
    log: logger,
  })
  const running = reflector.run(ending.signal)
  env.atEnd(async () => {
    ending.abort()
    await running
  })
  await reflector.synced
  const waiting = new Map<string, (at: number) => void>()
  const below = new Set<{ size: number; tell: (at: number) => void }>()
  store.onChange(({ type, object }) => {
    const at = performance.now()
    const request = object.metadata.annotations?.[ANNOTATION.request] ?? ''
    if (type === 'added') waiting.get(request)?.(at)
    for (const wish of below) if (store.size <= wish.size) wish.tell(at)
  })
  return {
    get size() {
      return store.size
    },
    seen: (request, boundMs) => {
      const { promise, resolve } = Promise.withResolvers<number>()
      waiting.set(request, resolve)
      return withDeadline(systemTimers, boundMs, promise, late(`the RoleBinding of ${request}`, boundMs))
    },
    downTo: (size, boundMs) => {
      const { promise, resolve } = Promise.withResolvers<number>()
      below.add({ size, tell: resolve })
      return withDeadline(systemTimers, boundMs, promise, late(`the end of all but ${size} RoleBindings`, boundMs))
    },
  }
}
