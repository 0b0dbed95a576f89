/** What JSON.parse says nothing of: keys that an object has twice, of which it takes the last, and how deep everything is nested. */

interface Frame {
  /** undefined in a list. */
  keys: Set<string> | undefined
  /** The key whose value is being read, or how many commas were seen in the list. */
  at: string | number
  /** A string that comes now is a key. */
  wantsKey: boolean
}

const QUOTE = 34
const COMMA = 44
const OPEN_LIST = 91
const BACKSLASH = 92
const CLOSE_LIST = 93
const OPEN_OBJECT = 123
const CLOSE_OBJECT = 125

/** @param start where the quote before the string is. @returns where the one after it is */
const endOfString = (text: string, start: number): number => {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    if (end < 0) return text.length
    let before = end - 1
    while (text.charCodeAt(before) === BACKSLASH) before -= 1
    if ((end - before) % 2 === 1) return end
  }
}

/** @param text maybe no JSON. @returns whether more lists and objects than `most` stand one within the other */
export const isNestedDeeper = (text: string, most: number): boolean => {
  let depth = 0
  for (let index = 0; index < text.length; index += 1) {
    switch (text.charCodeAt(index)) {
      case QUOTE:
        index = endOfString(text, index)
        break
      case OPEN_OBJECT:
      case OPEN_LIST:
        depth += 1
        if (depth > most) return true
        break
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        depth -= 1
        break
      default:
    }
  }
  return false
}

const keyIn = (text: string, start: number, end: number): string => {
  const raw = text.slice(start + 1, end)
  return raw.includes('\\') ? String(JSON.parse(`"${raw}"`)) : raw
}

const pathOf = (frames: readonly Frame[]): string =>
  frames.map(({ at }, index) => (typeof at === 'number' ? `[${at}]` : index === 0 ? at : `.${at}`)).join('')

/**
 * @param text valid JSON
 * @param most so many are told, each once
 * @returns their paths, such as `spec.groups`
 */
export const duplicateKeys = (text: string, most: number): string[] => {
  const frames: Frame[] = []
  const found = new Set<string>()
  for (let index = 0; index < text.length && found.size < most; index += 1) {
    const frame = frames.at(-1)
    switch (text.charCodeAt(index)) {
      case QUOTE: {
        const end = endOfString(text, index)
        if (frame?.keys !== undefined && frame.wantsKey) {
          const key = keyIn(text, index, end)
          frame.at = key
          frame.wantsKey = false
          if (frame.keys.has(key)) found.add(pathOf(frames))
          frame.keys.add(key)
        }
        index = end
        break
      }
      case OPEN_OBJECT:
        frames.push({ keys: new Set(), at: '', wantsKey: true })
        break
      case OPEN_LIST:
        frames.push({ keys: undefined, at: 0, wantsKey: false })
        break
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        frames.pop()
        break
      case COMMA:
        if (frame === undefined) break
        frame.wantsKey = frame.keys !== undefined
        if (typeof frame.at === 'number') frame.at += 1
        break
      default:
    }
  }
  return [...found]
}
