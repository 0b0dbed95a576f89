/** A watch on its way through a proxy: whole events are passed on as they come, until a test ends it one way or another. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { errorStatus, type ProxiedCall } from './api-call.ts'

export interface OpenWatch {
  readonly call: ProxiedCall
  /** Breaks the connection. */
  cut(): void
  /** It stays open, and nothing is passed on any more, not even its end. */
  silence(): void
  /** From now on what comes is passed on in so many pieces, one every so many milliseconds, as over a bad line. */
  trickle(pieces: number, everyMs: number): void
  /** Ends with an ERROR event that holds such a Status, for example 410. */
  fail(status: number): void
  /** Ends as the API server ends a watch whose time is over. */
  end(): void
}

const NEWLINE = 0x0a

/**
 * @param answer JSON, an event a line
 * @param onOver called as soon as a test ends it, or its caller goes
 */
export const relayWatch = (call: ProxiedCall, answer: IncomingMessage, response: ServerResponse, onOver: () => void): OpenWatch => {
  let isSilent = false
  /** The beginning of an event whose rest has not come. */
  let begun: Buffer[] = []
  let slow: { pieces: number; everyMs: number } | undefined
  /** What is said slowly is said in order. */
  let said: Promise<void> = Promise.resolve()
  const sayInPieces = async (data: Buffer, { pieces, everyMs }: { pieces: number; everyMs: number }): Promise<void> => {
    const size = Math.max(1, Math.ceil(data.length / pieces))
    for (let start = 0; start < data.length; start += size) {
      if (isSilent || response.destroyed) return
      response.write(data.subarray(start, start + size))
      await delay(everyMs)
    }
  }
  const say = (data: Buffer): void => {
    const how = slow
    if (how === undefined) response.write(data)
    else said = said.then(() => sayInPieces(data, how))
  }
  const close = (): void => {
    isSilent = true
    answer.destroy()
    onOver()
  }
  response.once('close', onOver)
  answer.on('data', (chunk: Buffer) => {
    if (isSilent) return
    const end = chunk.lastIndexOf(NEWLINE) + 1
    if (end === 0) {
      begun.push(chunk)
      return
    }
    say(begun.length === 0 ? chunk.subarray(0, end) : Buffer.concat([...begun, chunk.subarray(0, end)]))
    begun = end === chunk.length ? [] : [chunk.subarray(end)]
  })
  const endWhenSaid = async (): Promise<void> => {
    await said
    if (!isSilent) response.end()
  }
  answer.on('end', () => void endWhenSaid())
  answer.on('error', () => {
    if (!isSilent) response.socket?.destroy()
  })
  return {
    call,
    cut: () => {
      close()
      response.socket?.destroy()
    },
    silence: () => {
      isSilent = true
    },
    trickle: (pieces, everyMs) => {
      slow = { pieces, everyMs }
    },
    fail: (status) => {
      close()
      response.end(`${JSON.stringify({ type: 'ERROR', object: errorStatus(status) })}\n`)
    },
    end: () => {
      close()
      response.end()
    },
  }
}
