/** The Secret that holds signing keys: read live, changed only as it was read. */
import type { Secret } from '../api/secret.ts'
import type { SecretData } from '../core/signing-keys.ts'
import { signingKeyName } from '../core/signing-keys.ts'
import { CodedError, isCoded, messageOf } from '../errors.ts'
import type { Reader, Writer } from '../kube/ports.ts'
import { SECRETS } from '../kube/resources.ts'

export interface KeySecret {
  namespace: string
  name: string
}

export interface KeySecretPorts {
  reader: Pick<Reader, 'get'>
  writer: Pick<Writer, 'replace'>
}

/** A number of random bytes that nobody can guess. */
export type RandomBytes = (bytes: number) => Uint8Array

/** As long as the hash of HS384: longer adds nothing, shorter would be weaker than it. */
const KEY_BYTES = 48
const ATTEMPTS = 5

export const secretText = ({ namespace, name }: KeySecret): string => `Secret ${namespace}/${name}`

export const missingSecret = (where: KeySecret): string =>
  `${secretText(where)}, which holds the signing keys, is missing: apply the shipped manifests, or make it with kubectl create secret generic ${where.name} --namespace ${where.namespace}`

/** Entries with a new key under this kid. */
export const withNewKey = (data: SecretData | undefined, kid: string, randomBytes: RandomBytes): SecretData => ({
  ...data,
  [signingKeyName(kid)]: Buffer.from(randomBytes(KEY_BYTES)).toString('base64'),
})

const forbidden = (where: KeySecret, verb: 'get' | 'update', error: unknown): CodedError =>
  new CodedError('KUBE_FORBIDDEN', `${secretText(where)}, which holds the signing keys, needs the verb ${verb} in a Role and its RoleBinding, as in the shipped manifests: ${messageOf(error)}`, { cause: error })

/** What a call answers; what is forbidden says which right is missing. */
const allowed = async <T>(where: KeySecret, verb: 'get' | 'update', call: Promise<T>): Promise<T> => {
  try {
    return await call
  } catch (error) {
    throw isCoded(error, 'KUBE_FORBIDDEN') ? forbidden(where, verb, error) : error
  }
}

/** @throws CodedError KUBE_NOT_FOUND when it is missing; KUBE_* */
const readKeySecret = async (reader: Pick<Reader, 'get'>, where: KeySecret): Promise<Secret> => {
  const secret = await allowed(where, 'get', reader.get(SECRETS, where.namespace, where.name))
  if (secret === undefined) throw new CodedError('KUBE_NOT_FOUND', missingSecret(where))
  return secret
}

/**
 * Reads the Secret and writes what is made of it; when another writer was faster, all over again.
 * @param change the new data; undefined leaves it as it is
 * @returns the Secret as it is now
 * @throws CodedError KUBE_NOT_FOUND when it is missing; KUBE_CONFLICT when others always were faster; KUBE_*; whatever `change` throws
 */
export const changeKeySecret = async ({ reader, writer }: KeySecretPorts, where: KeySecret, change: (data: SecretData | undefined) => SecretData | undefined): Promise<Secret> => {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const secret = await readKeySecret(reader, where)
    const data = change(secret.data)
    if (data === undefined) return secret
    try {
      // It has the resourceVersion that was read: nobody's key is overwritten.
      return await allowed(where, 'update', writer.replace(SECRETS, { ...secret, data: { ...data } }))
    } catch (error) {
      if (!isCoded(error, 'KUBE_CONFLICT')) throw error
    }
  }
  throw new CodedError('KUBE_CONFLICT', `${secretText(where)} was changed by others ${ATTEMPTS} times in a row`)
}
