/** A watch's answer: JSON documents, one a line, cut into chunks anywhere, also inside a character. */
import type { KubeObject } from '../api/meta.ts'
import { errorOfWatchEvent, KubeError } from './kube-error.ts'
import type { WatchEvent } from './ports.ts'

const NEWLINE = 0x0a
/** Far more than the largest object that the API server stores. */
const MAX_LINE = 32 * 2 ** 20

/** Whole lines, without their end; an unfinished last line is dropped, as the server never ends on one by intent. */
async function* linesOf(chunks: AsyncIterable<Buffer>, call: string): AsyncGenerator<string> {
  let pending: Buffer[] = []
  let size = 0
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      pending.push(chunk.subarray(start, end))
      const line = Buffer.concat(pending).toString('utf8')
      pending = []
      size = 0
      start = end + 1
      if (line !== '') yield line
    }
    const rest = chunk.subarray(start)
    size += rest.length
    if (size > MAX_LINE) throw new KubeError('KUBE_UNAVAILABLE', `an event of ${call} is longer than ${MAX_LINE} bytes`)
    if (rest.length > 0) pending.push(rest)
  }
}

/** @throws CodedError KUBE_EXPIRED and others for an ERROR event; KUBE_UNAVAILABLE for what is no watch event */
export async function* watchEvents<T extends KubeObject>(chunks: AsyncIterable<Buffer>, call: string): AsyncGenerator<WatchEvent<T>> {
  for await (const line of linesOf(chunks, call)) {
    const { type, object }: { type?: string; object?: T } = parsed(line, call)
    if (type === 'ERROR') throw errorOfWatchEvent(call, object)
    if (object?.metadata === undefined) throw new KubeError('KUBE_UNAVAILABLE', `${call} sent an event without an object`)
    if (type === 'BOOKMARK') yield { type, resourceVersion: object.metadata.resourceVersion ?? '' }
    else if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') yield { type, object }
    else throw new KubeError('KUBE_UNAVAILABLE', `${call} sent an event of the unknown type ${JSON.stringify(type)}`)
  }
}

const parsed = (line: string, call: string): { type?: string } => {
  try {
    return JSON.parse(line) ?? {}
  } catch (error) {
    // The parser's message would quote the line, and with it the object.
    throw new KubeError('KUBE_UNAVAILABLE', `${call} sent an event that is no JSON`, {}, { cause: error instanceof SyntaxError ? 'SyntaxError' : error })
  }
}
