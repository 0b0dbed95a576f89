/** Which clients are trusted, as the API server says it in a ConfigMap that is watched. */
import type { X509Certificate } from 'node:crypto'
import type { Logger } from 'pino'
import type { ConfigMap } from '../api/config-map.ts'
import { FRONT_PROXY_CONFIG_MAP, readFrontProxyConfig, type FrontProxyConfig } from '../core/front-proxy-config.ts'
import { messageOf } from '../errors.ts'
import type { Clock, Reader, Watcher } from '../kube/ports.ts'
import { createReflector } from '../kube/reflector.ts'
import { CONFIG_MAPS } from '../kube/resources.ts'
import type { Source } from '../kube/sources.ts'
import { createStore } from '../kube/store.ts'
import type { Timers } from '../kube/timers.ts'
import { readAuthorities } from './peer-certificate.ts'

/** One state of the configuration: another one is another object. */
export interface ClientTrust {
  config: FrontProxyConfig
  /** The CAs of the front proxy. */
  frontProxy: readonly X509Certificate[]
  /** The CAs of client certificates; empty unless these are taken. */
  clients: readonly X509Certificate[]
  /** When handshakes began to go by it, on the clock of the timers; long ago for the first one, before which no certificate was accepted. */
  since: number
}

export interface ClientTrustDeps {
  kube: Pick<Reader, 'list'> & Watcher
  clock: Clock
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  logger: Logger
  /** Told the CAs that a handshake is to ask for, PEM. */
  use: (caPem: string) => void
}

export interface ClientTrustWatch {
  /** For health. */
  readonly source: Source
  /** undefined: nobody is trusted. */
  readonly current: ClientTrust | undefined
  /** Why nobody is trusted, in one sentence. */
  readonly problem: string | undefined
  /** Resolves when it was looked for the first time, or the watch was stopped before. */
  readonly read: Promise<void>
  /** Watches until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
}

const { namespace, name } = FRONT_PROXY_CONFIG_MAP
const WHERE = `ConfigMap ${namespace}/${name}`

/** @param clientCertificates whether certificates of the cluster's client CA are taken too */
export const watchClientTrust = ({ kube, clock, timers, random, logger, use }: ClientTrustDeps, { clientCertificates }: { clientCertificates: boolean }): ClientTrustWatch => {
  const store = createStore<ConfigMap>({ log: logger })
  const selection = { namespace, fieldSelector: `metadata.name=${name}` }
  const reflector = createReflector({ kube, resource: CONFIG_MAPS, ...selection, store, clock, timers, random, log: logger })
  let current: ClientTrust | undefined
  let problem: string | undefined = `${WHERE} was not read yet`
  let lastRead: string | undefined
  let isFirst = true

  const trustIn = (config: FrontProxyConfig): ClientTrust => ({
    config,
    frontProxy: readAuthorities(config.caPem, `${WHERE}: requestheader-client-ca-file`),
    clients: clientCertificates ? readAuthorities(config.clientCaPem, `${WHERE}: client-ca-file`) : [],
    since: isFirst ? Number.NEGATIVE_INFINITY : timers.monotonic(),
  })

  const refuse = (why: string): void => {
    if (why !== problem) logger.error({ reason: why }, 'no caller can be authenticated')
    current = undefined
    problem = why
  }

  const read = (): void => {
    const reading = readFrontProxyConfig(store.get(namespace, name))
    const seen = JSON.stringify(reading)
    if (seen === lastRead) return
    lastRead = seen
    if (!reading.ok) return refuse(reading.problem)
    try {
      const trust = trustIn(reading.config)
      use([...trust.frontProxy, ...trust.clients].map(String).join(''))
      current = trust
      isFirst = false
      problem = undefined
      logger.info({ allowedNames: reading.config.allowedNames }, 'the configuration of the front proxy was read')
    } catch (error) {
      refuse(messageOf(error))
    }
  }

  store.onChange(read)
  // A first list without the ConfigMap changes nothing in the store.
  const readFirst = async (): Promise<void> => {
    if (await reflector.synced) read()
  }
  return {
    source: { name: 'front proxy configuration', reflector },
    get current() {
      return current
    },
    get problem() {
      return problem
    },
    read: readFirst(),
    run: (signal) => reflector.run(signal),
  }
}
