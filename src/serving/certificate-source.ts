import type { Logger } from 'pino'
import { SYSTEM_NAMESPACE } from '../api/names.ts'
import { CodedError, messageOf } from '../errors.ts'
import type { Clock, Reader, Writer } from '../kube/ports.ts'
import type { Timers } from '../kube/timers.ts'
import type { CaTrust } from './ca-trust.ts'
import type { CertificateOptions, CertificateTimes } from './options.ts'
import { createSelfSigned } from './self-signed.ts'
import { startTicker, type Ticker } from './ticker.ts'
import type { CertificatePair, ServingTls } from './tls.ts'
import { watchFiles } from './watched-files.ts'

export interface CertificateSourceDeps {
  reader: Reader
  writer: Writer
  clock: Clock
  logger: Logger
  timers: Timers
  tls: ServingTls
  /** Where the API server is told of a CA of our own making. */
  trust: CaTrust
  /** Counts what became of certificates. */
  observed: (outcome: 'loaded' | 'refused') => void
}

export interface CertificateSourceOptions extends CertificateTimes {
  certificate: CertificateOptions
  /** PEM file with the CAs of client certificates; when given, a client without one is refused in the handshake. */
  clientCaFile?: string
}

/** Keeps the server in certificates, from files or of our own making. */
export interface CertificateSource {
  /** Begins; resolves at once where a certificate has to be asked for. @throws CodedError CONFIG_INVALID when a file cannot be used */
  start(): Promise<void>
  /** Resolves when the server has what a handshake needs and, for a certificate of our own making, the API server was told of its CA. */
  ready: Promise<void>
  stop(): Promise<void>
}

/** While there is no certificate yet, the Secret is tried this often, milliseconds. */
const FIRST_MS = 1_000

export const certificateSource = (options: CertificateSourceOptions, deps: CertificateSourceDeps): CertificateSource => {
  const { tls, logger, timers, observed } = deps
  const { certificate, clientCaFile } = options
  const tickers: Ticker[] = []
  const ready = Promise.withResolvers<void>()
  let lastTrouble: string | undefined

  const serve = (pair: CertificatePair): void => {
    tls.setCertificate(pair)
    observed('loaded')
    logger.info('serving certificate loaded')
  }

  /** The same trouble is told once, not at every try. */
  const trouble = (error: unknown): void => {
    const message = messageOf(error)
    if (message === lastTrouble) return
    lastTrouble = message
    observed('refused')
    logger.error(
      { err: error },
      tls.loaded ? 'the certificate could not be renewed or looked at; the one in use stays' : 'there is no certificate to serve with yet',
    )
  }

  const checked = (task: () => Promise<unknown>) => async (): Promise<void> => {
    await task()
    lastTrouble = undefined
    if (tls.loaded) ready.resolve()
  }

  /** @param files path by the option that names it, for messages */
  const startFiles = async (files: Readonly<Record<string, string>>, use: (contents: string[]) => void): Promise<void> => {
    const watched = watchFiles(Object.values(files), use)
    const refresh = checked(async () => {
      try {
        await watched.refresh()
      } catch (error) {
        throw new CodedError('CONFIG_INVALID', `${Object.keys(files).join(', ')}: ${messageOf(error)}`, { cause: error })
      }
    })
    await refresh()
    tickers.push(startTicker(timers, { first: options.filesMs, every: () => options.filesMs }, refresh, trouble))
  }

  const startSelfSigned = (serviceName: string, secretName: string): void => {
    const { secretMs, bundleMs } = options
    const service = `${serviceName}.${SYSTEM_NAMESPACE}.svc`
    const dnsNames = [service, `${service}.cluster.local`]
    const selfSigned = createSelfSigned({ ...deps, use: serve }, { namespace: SYSTEM_NAMESPACE, secretName, dnsNames, secretMs })
    const every = (): number => (tls.loaded ? bundleMs : Math.min(FIRST_MS, bundleMs))
    tickers.push(startTicker(timers, { first: 0, every }, checked(selfSigned.refresh), trouble))
  }

  return {
    start: async () => {
      if (clientCaFile !== undefined) await startFiles({ '--client-ca-file': clientCaFile }, ([pem = '']) => tls.setClientCa(pem))
      if (certificate.kind === 'files') await startFiles({ '--tls-cert-file': certificate.certFile, '--tls-key-file': certificate.keyFile }, ([cert = '', key = '']) => serve({ cert, key }))
      else startSelfSigned(certificate.serviceName, certificate.secretName)
    },
    ready: ready.promise,
    stop: async () => {
      await Promise.all(tickers.map((ticker) => ticker.stop()))
    },
  }
}
