/** Reader, Writer and Watcher over a transport: paths, pages, and what each status means for each call. */
import type { KubeObject } from '../api/meta.ts'
import { isCoded } from '../errors.ts'
import { errorOfAnswer, isTooLong, KubeError, saysAbsent } from './kube-error.ts'
import { collectionPath, objectPath } from './paths.ts'
import type { List, ListOptions, Precondition, Reader, Resource, Watcher, WatchEvent, WatchOptions, WriteOptions, Writer } from './ports.ts'
import { describe, type Answer, type Call, type Requester, type Transport } from './transport.ts'
import { watchEvents } from './watch-stream.ts'

/** Small, because at the start several kinds are read at once, and of each page there is the text and the objects for a while. */
const PAGE = 200
/** A page that is longer than this (bytes) is asked for again with fewer objects; a single object is far smaller. */
const MAX_PAGE_BYTES = 32 * 2 ** 20
/** How often a list begins again because what it was read from was compacted in the middle. */
const LIST_ATTEMPTS = 3

export interface KubeApi extends Reader, Writer, Watcher, Requester {}

/** JSON, or undefined for anything else: an error's body may be a plain sentence. */
const jsonOrNothing = (body: Buffer): unknown => {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}

/** A JSON object; what kind of object is what was asked for. The parser's own error is dropped: it would quote the answer. */
const decoding = <R>(call: Call, body: Buffer, decode: (text: string) => R): R => {
  const text = body.toString('utf8')
  try {
    if (/^\s*\{/.test(text)) return decode(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new KubeError('KUBE_UNAVAILABLE', `the answer of the API server to ${describe(call)} is no JSON object`)
}

const failed = (call: Call, { status, retryAfter, body }: Answer): KubeError => errorOfAnswer(describe(call), status, jsonOrNothing(body), retryAfter)

/** The parts of a call that every write has. */
const written = (object: object, { timeoutMs }: WriteOptions = {}): Pick<Call, 'body' | 'timeoutMs'> => ({
  body: JSON.stringify(object),
  ...(timeoutMs === undefined ? {} : { timeoutMs }),
})

interface Page<T> {
  items?: T[] | null
  metadata?: { resourceVersion?: string; continue?: string }
}

export const kubeApi = (transport: Transport): KubeApi => {
  const success = async (call: Call): Promise<Buffer> => {
    const answer = await transport.send(call)
    if (answer.status < 200 || answer.status > 299) throw failed(call, answer)
    return answer.body
  }
  const read = async <T extends KubeObject>(_of: Resource<T>, call: Call): Promise<T> => decoding(call, await success(call), (text): T => JSON.parse(text))

  /** One page; with fewer and fewer objects as long as it is too long. */
  const readPage = async <T extends KubeObject>(call: Call, most: number): Promise<{ page: Page<T>; limit: number }> => {
    for (let limit = most; ; limit = Math.ceil(limit / 4)) {
      const sized: Call = { ...call, query: { ...call.query, limit: limit.toString() }, maxBytes: MAX_PAGE_BYTES }
      try {
        return { page: decoding(sized, await success(sized), (text): Page<T> => JSON.parse(text)), limit }
      } catch (error) {
        if (!isTooLong(error) || limit === 1) throw error
      }
    }
  }

  const pages = async <T extends KubeObject>(resource: Resource<T>, options: ListOptions, trim: ((object: T) => T) | undefined): Promise<List<T>> => {
    const items: T[] = []
    let limit = PAGE
    let token: string | undefined
    for (;;) {
      const call: Call = {
        method: 'GET',
        path: collectionPath(resource, options.namespace),
        query: {
          labelSelector: options.labelSelector,
          fieldSelector: options.fieldSelector,
          ...(token === undefined ? { resourceVersion: options.resourceVersion } : { continue: token }),
        },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      }
      const answer = await readPage<T>(call, limit)
      const { page } = answer
      limit = answer.limit
      if (page.metadata?.resourceVersion === undefined)
        throw new KubeError('KUBE_UNAVAILABLE', `the answer of the API server to ${describe(call)} is no list`)
      // Built-in kinds leave apiVersion and kind out of a list's items.
      for (const item of page.items ?? []) {
        const whole = { ...item, apiVersion: resource.apiVersion, kind: resource.kind }
        items.push(trim === undefined ? whole : trim(whole))
      }
      token = page.metadata.continue
      if (token === undefined || token === '') return { items, resourceVersion: page.metadata.resourceVersion }
    }
  }

  return {
    request: async (call) => {
      const body = await success(call)
      return body.length === 0 ? undefined : (jsonOrNothing(body) ?? body.toString('utf8'))
    },

    get: async <T extends KubeObject>(resource: Resource<T>, namespace: string | undefined, name: string, options: { signal?: AbortSignal } = {}) => {
      try {
        return await read(resource, { method: 'GET', path: objectPath(resource, namespace, name), ...options })
      } catch (error) {
        if (saysAbsent(error)) return undefined
        throw error
      }
    },

    list: async <T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}, trim?: (object: T) => T) => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await pages(resource, options, trim)
        } catch (error) {
          if (!isCoded(error, 'KUBE_EXPIRED') || attempt === LIST_ATTEMPTS) throw error
        }
      }
    },

    create: async <T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions) =>
      read(resource, { method: 'POST', path: collectionPath(resource, ownNamespace(resource, object)), ...written(object, options) }),

    replace: async <T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions) =>
      read(resource, { method: 'PUT', path: objectPath(resource, object.metadata.namespace, object.metadata.name), ...written(object, options) }),

    replaceStatus: async <T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions) =>
      read(resource, { method: 'PUT', path: objectPath(resource, object.metadata.namespace, object.metadata.name, 'status'), ...written(object, options) }),

    mergePatch: async <T extends KubeObject>(resource: Resource<T>, namespace: string | undefined, name: string, patch: object, options?: WriteOptions) =>
      read(resource, { method: 'PATCH', path: objectPath(resource, namespace, name), contentType: 'application/merge-patch+json', ...written(patch, options) }),

    remove: async (resource: Resource, namespace: string | undefined, name: string, precondition?: Precondition, options?: WriteOptions) => {
      const deletion = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', preconditions: precondition }
      try {
        await success({ method: 'DELETE', path: objectPath(resource, namespace, name), ...written(deletion, options) })
        return true
      } catch (error) {
        if (saysAbsent(error)) return false
        throw error
      }
    },

    watch: <T extends KubeObject>(resource: Resource<T>, options: WatchOptions) => openWatch(transport, resource, options),
  }
}

/** Objects of a namespaced kind without a namespace would be sent to the path of all namespaces, which takes none. */
const ownNamespace = (resource: Resource, { metadata }: KubeObject): string | undefined => {
  if (resource.namespaced && metadata.namespace === undefined)
    throw new KubeError('KUBE_INVALID', `${resource.kind} ${JSON.stringify(metadata.name)} needs a namespace`)
  return metadata.namespace
}

async function* openWatch<T extends KubeObject>(transport: Transport, resource: Resource<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
  const { signal } = options
  if (signal?.aborted) return
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  signal?.addEventListener('abort', stop, { once: true })
  const call: Call = {
    method: 'GET',
    path: collectionPath(resource, options.namespace),
    query: {
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: options.resourceVersion,
      timeoutSeconds: String(options.timeoutSeconds),
      labelSelector: options.labelSelector,
      fieldSelector: options.fieldSelector,
    },
    signal: controller.signal,
  }
  try {
    const opened = await transport.open(call)
    if ('answer' in opened) throw failed(call, opened.answer)
    options.onOpen?.()
    yield* watchEvents<T>(opened.stream as AsyncIterable<Buffer>, describe(call))
  } catch (error) {
    if (signal?.aborted) return
    if (error instanceof KubeError) throw error
    throw new KubeError('KUBE_UNAVAILABLE', `the watch ${describe(call)} was cut`, {}, { cause: error })
  } finally {
    signal?.removeEventListener('abort', stop)
    controller.abort()
  }
}
