const LINE_ENDS = /[\r\n]/g
const ALPHABET = /^[A-Za-z0-9+/]*={0,2}$/
const CHUNK = 8192

/** A text as base64 of its UTF-8, with padding. */
export const toBase64 = (text: string): string => {
  const bytes = new TextEncoder().encode(text)
  const parts: string[] = []
  for (let at = 0; at < bytes.length; at += CHUNK) parts.push(String.fromCharCode(...bytes.subarray(at, at + CHUNK)))
  return btoa(parts.join(''))
}

/** The bytes that were encoded; undefined where it is no base64 with padding. Line ends are passed over. */
export const bytesFromBase64 = (encoded: string): Uint8Array | undefined => {
  const plain = encoded.replaceAll(LINE_ENDS, '')
  if (plain.length % 4 !== 0 || !ALPHABET.test(plain)) return undefined
  try {
    return Uint8Array.from(atob(plain), (character) => character.charCodeAt(0))
  } catch {
    // The decoder's own message says no more than that this is no base64.
    return undefined
  }
}

/** The text that was encoded; undefined where it is no base64 with padding, or the bytes are no UTF-8. Line ends are passed over. */
export const fromBase64 = (encoded: string): string | undefined => {
  const bytes = bytesFromBase64(encoded)
  try {
    return bytes && new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    // The decoder's own message says no more than that the bytes are no text.
    return undefined
  }
}
