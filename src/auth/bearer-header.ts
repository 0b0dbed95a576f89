/** The Authorization header of a request. */

export type BearerHeader = { kind: 'missing' } | { kind: 'invalid' } | { kind: 'token'; token: string }

const BEARER = 'Bearer '
/** What a token may consist of (RFC 6750); a second space is no part of it. */
const TOKEN = /^[\w\-.~+/]+=*$/

/** Node keeps the first of several and drops the others. @param rawHeaders names and values in turns */
const isSentTwice = (rawHeaders: readonly string[]): boolean => rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === 'authorization').length > 1

export const readBearer = (header: string | undefined, rawHeaders: readonly string[]): BearerHeader => {
  if (header === undefined || header === '') return { kind: 'missing' }
  const token = header.startsWith(BEARER) ? header.slice(BEARER.length) : ''
  return !TOKEN.test(token) || isSentTwice(rawHeaders) ? { kind: 'invalid' } : { kind: 'token', token }
}
