/** Readers of option values. Each throws Commander's own error, whose message is one sentence. */
import path from 'node:path'
import { InvalidArgumentError } from 'commander'
import { parseGoDuration } from '../core/go-duration.ts'
import { subdomainProblem } from '../core/name-rules.ts'

export const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most) throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`)
    return value
  }

export const port = wholeNumber(0, 65_535)

export const objectName = (text: string): string => {
  const problem = subdomainProblem(text)
  if (problem !== undefined) throw new InvalidArgumentError(`It ${problem}.`)
  return text
}

/** Milliseconds. @param least and most as they are written, for the message */
export const duration = (least: string, most: string) => {
  const [leastMs = 0, mostMs = Infinity] = [least, most].map(parseGoDuration)
  return (text: string): number => {
    const value = parseGoDuration(text)
    if (value === undefined || value < leastMs || value > mostMs) throw new InvalidArgumentError(`It must be a duration such as 90s or 5m, from ${least} to ${most}.`)
    return value
  }
}

/** The address of a unix socket holds so many bytes, its end included. */
const MAX_SOCKET_PATH = 107

export const absolutePath = (text: string): string => {
  if (!path.isAbsolute(text) || path.normalize(text) !== text || text.endsWith('/'))
    throw new InvalidArgumentError('It must be an absolute path without "..", "//" or a slash at the end.')
  return text
}

export const socketPath = (text: string): string => {
  if (Buffer.byteLength(text) > MAX_SOCKET_PATH) throw new InvalidArgumentError(`The path of a socket must not be longer than ${MAX_SOCKET_PATH} bytes.`)
  return absolutePath(text)
}
