/** Warnings as HTTP headers (RFC 7234, 5.5), which kubectl shows. */

/** Characters of one warning, and of all: a header that is too long is no header. */
const ONE = 256
const ALL = 4096
const UNPRINTABLE = /[^\x20-\x7e]/g

const headerOf = (warning: string): string => {
  const text = warning.replaceAll(UNPRINTABLE, '?')
  const cut = text.length > ONE ? `${text.slice(0, ONE)}...` : text
  return `299 - "${cut.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/** Each once, as many as there is room for. */
export const warningHeaders = (warnings: readonly string[]): string[] => {
  let room = ALL
  return [...new Set(warnings.map(headerOf))].filter((header) => {
    room -= header.length
    return room >= 0
  })
}
