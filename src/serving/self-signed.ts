/** The certificate without cert-manager: made here, shared by all replicas through one Secret, told to the API server through caBundle. */
import type { Logger } from 'pino'
import type { Secret } from '../api/secret.ts'
import { CodedError, isCoded, messageOf } from '../errors.ts'
import type { Clock, Reader, Writer } from '../kube/ports.ts'
import { SECRETS } from '../kube/resources.ts'
import type { CaTrust } from './ca-trust.ts'
import { checkMaterial, createMaterial, isServable, renewalDue, renewAuthority, renewLeaf, type CertificateMaterial, type Renewal } from './certificate.ts'
import type { CertificatePair } from './tls.ts'

export interface SelfSignedDeps {
  reader: Reader
  writer: Writer
  clock: Clock
  logger: Logger
  /** Where the API server is told of the CA. */
  trust: CaTrust
  /** Takes a certificate that is new to this replica. @throws CodedError CONFIG_INVALID */
  use: (pair: CertificatePair) => void
}

export interface SelfSignedOptions {
  /** Where the Secret is. */
  namespace: string
  secretName: string
  /** DNS names of the certificate, as the API server dials them. */
  dnsNames: readonly string[]
  /** How often the Secret is read, milliseconds: how long a certificate that another replica renewed takes to get here. */
  secretMs: number
}

export interface SelfSigned {
  /**
   * To be called every few seconds, one call at a time. Takes the certificate from the Secret, makes or renews it when that
   * is due, and puts the CA where the API server looks for it, if it is not there (any more).
   * @throws CodedError KUBE_*; a certificate that was in use stays in use
   */
  refresh: () => Promise<void>
}

const ATTEMPTS = 5
const KEY = { cert: 'tls.crt', key: 'tls.key', caBundle: 'ca.crt', caKey: 'ca.key' } as const

const encode = (text: string): string => Buffer.from(text).toString('base64')
const decode = (value: string | undefined): string => Buffer.from(value ?? '', 'base64').toString('utf8')

const toData = ({ caBundle, caKey, leaf }: CertificateMaterial): Record<string, string> => ({
  [KEY.cert]: encode(leaf.cert),
  [KEY.key]: encode(leaf.key),
  [KEY.caBundle]: encode(caBundle),
  [KEY.caKey]: encode(caKey),
})

export const createSelfSigned = (deps: SelfSignedDeps, options: SelfSignedOptions): SelfSigned => {
  const { reader, writer, clock, logger, trust, use } = deps
  const { namespace, secretName, dnsNames, secretMs } = options
  let current: CertificateMaterial | undefined
  /** The bundle that the API server was last seen to trust. */
  let bundleInPlace: string | undefined
  let secretReadAt: number | undefined

  /** A Secret without our keys is an empty place for them; one that cannot be read is replaced, and said so. */
  const read = (secret: Secret | undefined): CertificateMaterial | undefined => {
    const data = secret?.data ?? {}
    if ((data[KEY.cert] ?? '') === '') return undefined
    try {
      return checkMaterial({
        caBundle: decode(data[KEY.caBundle]),
        caKey: decode(data[KEY.caKey]),
        leaf: { cert: decode(data[KEY.cert]), key: decode(data[KEY.key]) },
      })
    } catch (error) {
      logger.warn({ object: `${namespace}/${secretName}`, reason: messageOf(error) }, 'the certificate in the Secret cannot be used and is made anew')
      return undefined
    }
  }

  const adopt = (material: CertificateMaterial): void => {
    if (material.leaf.cert !== current?.leaf.cert) use(material.leaf)
    current = material
  }

  const renew = (found: CertificateMaterial | undefined, due: Renewal): Promise<CertificateMaterial> => {
    const now = clock.now()
    if (found === undefined || due === 'everything') return createMaterial(dnsNames, now)
    return due === 'authority' ? renewAuthority(found, now) : renewLeaf(found, dnsNames, now)
  }

  const write = async (secret: Secret | undefined, material: CertificateMaterial): Promise<void> => {
    if (secret === undefined) await writer.create(SECRETS, { metadata: { name: secretName, namespace }, type: 'Opaque', data: toData(material) })
    else await writer.replace(SECRETS, { ...secret, data: { ...secret.data, ...toData(material) } })
  }

  /** A certificate of a CA that the API server was not told of yet would be refused; there is time to wait for it. */
  const mustWait = (found: CertificateMaterial, due: Renewal): boolean => due === 'leaf' && isServable(found, clock.now()) && bundleInPlace !== found.caBundle

  const syncSecret = async (): Promise<void> => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const secret = await reader.get(SECRETS, namespace, secretName)
      const found = read(secret)
      const due = found === undefined ? 'everything' : renewalDue(found, dnsNames, clock.now())
      if (found !== undefined && isServable(found, clock.now())) adopt(found)
      if (due === 'none' || (found !== undefined && mustWait(found, due))) return
      const next = await renew(found, due)
      try {
        await write(secret, next)
      } catch (error) {
        // Another replica was faster: its certificate is the one.
        if (isCoded(error, 'KUBE_CONFLICT')) continue
        throw error
      }
      logger.info({ object: `${namespace}/${secretName}`, renewed: due }, 'the serving certificate was made or renewed')
      adopt(next)
      return
    }
    throw new CodedError('KUBE_CONFLICT', `Secret ${namespace}/${secretName} was changed by others ${ATTEMPTS} times in a row`)
  }

  const refreshSecret = async (): Promise<void> => {
    await syncSecret()
    secretReadAt = clock.now()
  }

  const refreshBundle = async (): Promise<void> => {
    if (current === undefined) return
    if (!(await trust.isInPlace(current.caBundle))) {
      bundleInPlace = undefined
      // Another replica may have made a new CA; what is put there is always what the Secret says.
      await refreshSecret()
      await trust.put(current.caBundle)
    }
    bundleInPlace = current.caBundle
  }

  /** A clock that was set back must not keep the Secret unread until it has caught up. */
  const isSecretDue = (): boolean => {
    const age = secretReadAt === undefined ? secretMs : clock.now() - secretReadAt
    return age >= secretMs || age < 0
  }

  return {
    refresh: async () => {
      if (isSecretDue()) await refreshSecret()
      await refreshBundle()
    },
  }
}
