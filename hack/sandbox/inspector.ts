/** Looks into a Node process that was started with --inspect: what it still holds, once everything that is garbage was collected. */

export interface Insides {
  /** Bytes of live objects, right after a garbage collection. */
  heapBytes: number
  /** Bytes of memory that the process has, right after it. */
  residentBytes: number
  /** What would keep the process alive, counted by its kind, for example TCPSocketWrap. */
  resources: Record<string, number>
}

export interface Inspector {
  /** @throws Error when the process is gone, or says nothing within 30 s */
  look(): Promise<Insides>
  close(): void
}

const ANSWER_MS = 30_000
const LOOK = `JSON.stringify({
  heapBytes: process.memoryUsage().heapUsed,
  residentBytes: process.memoryUsage.rss(),
  resources: process.getActiveResourcesInfo().reduce((counts, kind) => ({ ...counts, [kind]: (counts[kind] ?? 0) + 1 }), {}),
})`

interface Reply {
  id?: number
  error?: { message: string }
  result?: { result?: { value?: string } }
}

/** @param url as Node prints it at its start: `ws://127.0.0.1:<port>/<id>` */
export const connectInspector = async (url: string): Promise<Inspector> => {
  const socket = new WebSocket(url)
  const waiting = new Map<number, (reply: Reply) => void>()
  let calls = 0
  const opened = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<never>()
  gone.promise.catch(() => undefined)
  socket.addEventListener('open', () => opened.resolve())
  socket.addEventListener('close', () => gone.reject(new Error('the inspected process is gone')))
  socket.addEventListener('error', () => gone.reject(new Error(`the inspector at ${url} cannot be reached`)))
  socket.addEventListener('message', ({ data }) => {
    const reply: Reply = JSON.parse(String(data))
    if (reply.id !== undefined) waiting.get(reply.id)?.(reply)
  })

  const call = async (method: string, params: object = {}): Promise<NonNullable<Reply['result']>> => {
    calls += 1
    const id = calls
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    const late = setTimeout(() => reject(new Error(`the inspected process did not answer ${method} within ${ANSWER_MS / 1000} s`)), ANSWER_MS)
    waiting.set(id, resolve)
    try {
      socket.send(JSON.stringify({ id, method, params }))
      const { error, result = {} } = await Promise.race([promise, gone.promise])
      if (error !== undefined) throw new Error(`${method}: ${error.message}`)
      return result
    } finally {
      clearTimeout(late)
      waiting.delete(id)
    }
  }

  await Promise.race([opened.promise, gone.promise])
  return {
    look: async () => {
      // What the first collection finds may be let go only by the second one.
      for (let round = 0; round < 2; round++) await call('HeapProfiler.collectGarbage')
      const { result } = await call('Runtime.evaluate', { expression: LOOK, returnByValue: true })
      const insides: Insides = JSON.parse(result?.value ?? '')
      return insides
    },
    close: () => socket.close(),
  }
}
