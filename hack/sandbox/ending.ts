import type { ClusterAccess } from '../control-plane/cluster-access.ts'

/** Aborts at the first signal that asks to end; the second one changes nothing. */
export const endingSignal = (): AbortSignal => {
  const ending = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ending.abort(new Error(`ended by ${signal}`)))
  return ending.signal
}

export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })

/** What is waited for, unless the signal comes first. @throws the signal's reason then, also where the work failed because of it */
export const unlessAborted = async <T>(signal: AbortSignal, work: Promise<T>): Promise<T> => {
  const { promise: ended, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    const result = await Promise.race([work, ended])
    signal.throwIfAborted()
    return result
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Starts something that the signal ends while it starts; once it is up, whoever started it stops it, after what uses it. */
export const whileStarting = async <T>(signal: AbortSignal, start: (starting: AbortSignal) => Promise<T>): Promise<T> => {
  signal.throwIfAborted()
  const starting = new AbortController()
  const onAbort = (): void => starting.abort(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    return await start(starting.signal)
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/**
 * The same cluster until the signal comes. From then on every call throws its reason: whoever asks again and again would do so until
 * a bound is reached, and a control plane that is stopped meanwhile would only say that it cannot be reached.
 */
export const clusterUntil = <Cluster extends ClusterAccess>(signal: AbortSignal, cluster: Cluster): Cluster => {
  const guarded = async <T>(ask: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted()
    return unlessAborted(signal, ask())
  }
  return {
    ...cluster,
    call: (...args) => guarded(() => cluster.call(...args)),
    kubectl: (args, options) => guarded(() => cluster.kubectl(args, { signal, ...options })),
    serviceAccountToken: (...args) => guarded(() => cluster.serviceAccountToken(...args)),
    kubeconfigFor: (user) => guarded(() => cluster.kubeconfigFor(user)),
    namespace: (prefix) => guarded(() => cluster.namespace(prefix)),
  }
}
