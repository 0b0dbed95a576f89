/** The objects that tell the API server which CAs to trust when it calls us. */
import type { Logger } from 'pino'
import type { KubeObject } from '../api/meta.ts'
import { CodedError, isCoded } from '../errors.ts'
import type { Reader, Resource, Writer } from '../kube/ports.ts'

/** One such object, and where in it the CAs are. */
export interface CaTarget {
  /** For messages, such as `MutatingWebhookConfiguration access-gate`. */
  name: string
  /** Whether every place of the object has exactly these CAs. @throws CodedError KUBE_* */
  carries(caBundle: string): Promise<boolean>
  /** Puts them there. @returns false when they were there already. @throws CodedError KUBE_CONFLICT when the object was changed meanwhile; KUBE_* */
  put(caBundle: string): Promise<boolean>
}

export interface CaTargetShape<T extends KubeObject> {
  resource: Resource<T>
  name: string
  /** Base64 of PEM, as the API server takes it. */
  carries: (object: T, caBundle: string) => boolean
  withBundle: (object: T, caBundle: string) => T
}

export const caTarget = <T extends KubeObject>({ reader, writer }: { reader: Reader; writer: Writer }, shape: CaTargetShape<T>): CaTarget => {
  const name = `${shape.resource.kind} ${shape.name}`
  const read = async (): Promise<T> => {
    const object = await reader.get(shape.resource, undefined, shape.name)
    if (object === undefined) throw new CodedError('KUBE_NOT_FOUND', `${name} does not exist; apply the manifests`)
    return object
  }
  return {
    name,
    carries: async (caBundle) => shape.carries(await read(), caBundle),
    put: async (caBundle) => {
      const object = await read()
      if (shape.carries(object, caBundle)) return false
      await writer.replace(shape.resource, shape.withBundle(object, caBundle))
      return true
    },
  }
}

export interface CaTrust {
  /** Whether all targets trust exactly these CAs. @param pem certificates. @throws CodedError KUBE_* */
  isInPlace(pem: string): Promise<boolean>
  /** Makes them trust exactly these CAs. @param pem certificates. @throws CodedError KUBE_* */
  put(pem: string): Promise<void>
}

const ATTEMPTS = 5

const encode = (pem: string): string => Buffer.from(pem).toString('base64')

const putInto = async (target: CaTarget, caBundle: string, logger: Logger): Promise<void> => {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    try {
      if (await target.put(caBundle)) logger.info({ object: target.name }, 'the CA was put where the API server looks for it')
      return
    } catch (error) {
      if (!isCoded(error, 'KUBE_CONFLICT')) throw error
    }
  }
  throw new CodedError('KUBE_CONFLICT', `${target.name} was changed by others ${ATTEMPTS} times in a row`)
}

export const caTrust = (targets: readonly CaTarget[], logger: Logger): CaTrust => ({
  isInPlace: async (pem) => (await Promise.all(targets.map((target) => target.carries(encode(pem))))).every(Boolean),
  put: async (pem) => {
    for (const target of targets) await putInto(target, encode(pem), logger)
  },
})
