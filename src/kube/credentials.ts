/** Who we are to the API server, kept and renewed. Where it comes from is the matter of kubeconfig.ts and in-cluster.ts. */
import type { Agent } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import { KubeError } from './kube-error.ts'
import { withDeadline, type Timers } from './timers.ts'

/** What a TLS connection is made with. */
export interface TlsMaterial {
  ca?: string | Buffer
  cert?: string | Buffer
  key?: string | Buffer
  servername?: string
  rejectUnauthorized?: boolean
}

export interface Credentials {
  /** Sent with every request: Authorization, impersonation. Never logged. */
  headers: Record<string, string>
  /** The same object as long as nothing in it has changed. */
  tls: TlsMaterial
  /** Set when the configuration names a proxy. */
  proxy?: Agent
}

/** Where the API server is, and who we are to it. */
export interface Connection {
  server: URL
  /** Credentials that may change while we run. */
  dynamic: boolean
  /** Reads files and runs plugins, so it is called seldom. @param afresh true: nothing that was remembered */
  load: (afresh: boolean) => Promise<Credentials>
}

export interface CredentialSource {
  /** What was known before goes on when a later load fails; a 401 then says so. */
  current(): Promise<Credentials>
  /** After a 401. @returns undefined when there is nothing newer than what was used */
  renewed(used: Credentials): Promise<Credentials | undefined>
}

export interface CredentialOptions {
  /** Reads files and runs plugins. @param afresh true: nothing that was remembered */
  load: (afresh: boolean) => Promise<Credentials>
  /** false: what was loaded once stays. */
  dynamic: boolean
  /** How old dynamic credentials may get before they are asked for again. */
  maxAgeMs: number
  /** How long loading may take. */
  timeoutMs: number
  timers: Timers
}

/** @throws (from its functions) CodedError KUBE_UNAVAILABLE; the message never holds what a plugin or a file said */
export const credentialSource = ({ load, dynamic, maxAgeMs, timeoutMs, timers }: CredentialOptions): CredentialSource => {
  let known: Credentials | undefined
  let loadedAt = 0
  let afreshAt = Number.NEGATIVE_INFINITY
  let loading: Promise<Credentials> | undefined

  const late = (): Error => new KubeError('KUBE_UNAVAILABLE', `the credentials of the kubeconfig did not come within ${timeoutMs / 1000} s`)
  const loadOnce = async (afresh: boolean): Promise<Credentials> => {
    try {
      const loaded = await withDeadline(timers, timeoutMs, load(afresh), late)
      known = { ...loaded, tls: known !== undefined && isDeepStrictEqual(known.tls, loaded.tls) ? known.tls : loaded.tls }
      return known
    } catch (error) {
      if (error instanceof KubeError) throw error
      throw new KubeError('KUBE_UNAVAILABLE', `the credentials could not be had (${faultOf(error)}); look at the token file or the plugin that the kubeconfig names`)
    } finally {
      loadedAt = timers.monotonic()
    }
  }
  const reload = (afresh: boolean): Promise<Credentials> => {
    loading ??= loadOnce(afresh).finally(() => {
      loading = undefined
    })
    return loading
  }

  return {
    current: async () => {
      if (known !== undefined && (!dynamic || timers.monotonic() - loadedAt < maxAgeMs)) return known
      const before = known
      return before === undefined ? reload(false) : reload(false).catch(() => before)
    },
    renewed: async (used) => {
      if (known !== undefined && !isDeepStrictEqual(known.headers, used.headers)) return known
      if (!dynamic || timers.monotonic() - afreshAt < maxAgeMs) return undefined
      afreshAt = timers.monotonic()
      const fresh = await reload(true)
      return isDeepStrictEqual(fresh.headers, used.headers) && fresh.tls === used.tls ? undefined : fresh
    },
  }
}

/** The kind of a fault without its text: the text of a failed plugin or parse may quote a token. */
const faultOf = (error: unknown): string => {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' ? code : 'no usable answer'
}
