/**
 * Reads HTTP/1.1 responses off a connection, as much as a load generator needs: it must cost far less than what it measures.
 * Content-Length and chunked bodies; no trailers, no interim responses.
 */

export interface HttpResponse {
  status: number
  body: Buffer
}

interface Head {
  status: number
  /** Where the body begins. */
  bodyAt: number
  /** Bytes of the body; undefined: chunked. */
  length: number | undefined
}

const HEAD_END = '\r\n\r\n'
const CHUNKS_END = Buffer.from('0\r\n\r\n')

/** @throws Error for a head that says neither how long the body is nor that it comes in chunks */
const readHead = (bytes: Buffer): Head | undefined => {
  const end = bytes.indexOf(HEAD_END)
  if (end < 0) return undefined
  const text = bytes.toString('latin1', 0, end)
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1])
  const length = /^content-length: *(\d+)$/im.exec(text)?.[1]
  if (Number.isNaN(status) || (length === undefined && !/^transfer-encoding: *chunked$/im.test(text))) throw new Error(`this is no response that can be read: ${text.slice(0, 200)}`)
  return { status, bodyAt: end + HEAD_END.length, length: length === undefined ? undefined : Number(length) }
}

/** The pieces of a chunked body in one. */
const joinChunks = (chunked: Buffer): Buffer => {
  const pieces: Buffer[] = []
  for (let at = 0; ; ) {
    const lineEnd = chunked.indexOf('\r\n', at)
    const size = Number.parseInt(chunked.toString('latin1', at, lineEnd), 16)
    if (Number.isNaN(size)) throw new Error('a chunk of the response has no size')
    if (size === 0) return Buffer.concat(pieces)
    pieces.push(chunked.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
}

const readBody = (bytes: Buffer, { bodyAt, length }: Head): Buffer | undefined => {
  const rest = bytes.subarray(bodyAt)
  if (length === undefined) return rest.length >= CHUNKS_END.length && rest.subarray(-CHUNKS_END.length).equals(CHUNKS_END) ? joinChunks(rest) : undefined
  if (rest.length > length) throw new Error('there is more than the one response that was asked for')
  return rest.length === length ? rest : undefined
}

/**
 * For one connection with one request under way at a time.
 * @returns what takes the bytes as they come and gives back the response when it is whole; it throws Error for anything else
 */
export const responseReader = (): ((piece: Buffer) => HttpResponse | undefined) => {
  let bytes: Buffer | undefined
  let head: Head | undefined
  return (piece) => {
    bytes = bytes === undefined ? piece : Buffer.concat([bytes, piece])
    head ??= readHead(bytes)
    if (head === undefined) return undefined
    const body = readBody(bytes, head)
    if (body === undefined) return undefined
    const { status } = head
    bytes = undefined
    head = undefined
    return { status, body }
  }
}
