/** One controller process on a memory-kube: it can die at a chosen write, and its watches can be held back so that its caches fall behind. */
import type { KubeObject } from '../../src/api/meta.ts'
import type { ControllerPorts } from '../../src/controller/role.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import type { Resource, WatchEvent, WatchOptions } from '../../src/kube/ports.ts'
import { LEASES } from '../../src/kube/resources.ts'
import type { MemoryKube } from './memory-kube.ts'

export interface ControllerProcess extends ControllerPorts {
  /** No call is answered any more, and no watch tells anything. */
  die(): void
  /** Dies right behind so many more writes, before their answer; writes of Leases do not count. */
  dieAfter(writes: number): void
  readonly isDead: boolean
  /** Writes so far, those of Leases left out. */
  readonly writes: number
  /** Holds back what the watches of a kind tell. @returns what lets it go on */
  blind(resource: Resource): () => void
}

const gone = (): KubeError => new KubeError('KUBE_UNAVAILABLE', 'this process is dead')

/** @param onWrite called after each write that took effect */
export const controllerProcess = (kube: MemoryKube, onWrite: () => void = () => undefined): ControllerProcess => {
  let isDead = false
  let writes = 0
  let lastWrite = Number.POSITIVE_INFINITY
  const blinds = new Map<string, Promise<void>>()

  const answered = async <R>(call: () => Promise<R>): Promise<R> => {
    if (isDead) throw gone()
    const answer = await call()
    if (isDead) throw gone()
    return answer
  }
  const written = <R>(resource: Resource, call: () => Promise<R>): Promise<R> =>
    answered(async () => {
      const answer = await call()
      onWrite()
      if (resource.plural !== LEASES.plural) {
        writes += 1
        if (writes >= lastWrite) isDead = true
      }
      return answer
    })

  async function* watch<T extends KubeObject>(resource: Resource<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const aborted = new Promise<void>((resolve) => {
      options.signal?.addEventListener('abort', () => resolve(), { once: true })
    })
    if (isDead) throw gone()
    for await (const event of kube.watch(resource, options)) {
      await Promise.race([blinds.get(resource.plural), aborted])
      if (options.signal?.aborted) return
      if (isDead) throw gone()
      yield event
    }
    // Nor is it told that they end.
    await Promise.race([blinds.get(resource.plural), aborted])
  }

  return {
    get: (...args) => answered(() => kube.get(...args)),
    list: (...args) => answered(() => kube.list(...args)),
    resourceFor: (...args) => answered(() => kube.resourceFor(...args)),
    create: (resource, object) => written(resource, () => kube.create(resource, object)),
    replace: (resource, object) => written(resource, () => kube.replace(resource, object)),
    replaceStatus: (resource, object) => written(resource, () => kube.replaceStatus(resource, object)),
    mergePatch: (resource, ...args) => written(resource, () => kube.mergePatch(resource, ...args)),
    remove: (resource, ...args) => written(resource, () => kube.remove(resource, ...args)),
    watch,
    die: () => {
      isDead = true
    },
    dieAfter: (more) => {
      lastWrite = writes + more
      if (more === 0) isDead = true
    },
    get isDead() {
      return isDead
    },
    get writes() {
      return writes
    },
    blind: (resource) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      blinds.set(resource.plural, promise)
      return () => {
        blinds.delete(resource.plural)
        resolve()
      }
    },
  }
}
