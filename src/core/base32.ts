/** Base32 of RFC 4648 without padding, as host names carry the names of namespaces. */
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const BITS = 5

/** Lower case. */
export const encodeBase32 = (bytes: Uint8Array): string => {
  let text = ''
  let held = 0
  let bits = 0
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    for (; bits >= BITS; bits -= BITS) text += ALPHABET.charAt((held >>> (bits - BITS)) & 31)
    held &= (1 << bits) - 1
  }
  return bits === 0 ? text : text + ALPHABET.charAt((held << (BITS - bits)) & 31)
}

/** In either case. @returns undefined for text that no bytes are written as: two texts never stand for the same bytes */
export const decodeBase32 = (text: string): Uint8Array | undefined => {
  const bytes: number[] = []
  let held = 0
  let bits = 0
  for (const character of text.toLowerCase()) {
    const value = ALPHABET.indexOf(character)
    if (value < 0) return undefined
    held = (held << BITS) | value
    bits += BITS
    if (bits < 8) continue
    bits -= 8
    bytes.push(held >>> bits)
    held &= (1 << bits) - 1
  }
  return held === 0 && bits < BITS ? Uint8Array.from(bytes) : undefined
}
