/** What answers are remembered or shared by. */
import { createHash } from 'node:crypto'

/** Characters. Whoever asks may send many groups: a longer question is known by its digest, which costs less than to keep and compare it. */
const LONGEST = 512

/** @param parts all of the question, so that no two questions have the same key */
export const questionKey = (...parts: unknown[]): string => {
  const key = JSON.stringify(parts)
  return key.length > LONGEST ? createHash('sha256').update(key).digest('base64') : key
}
