/** The list of groups in a header of a login proxy. */
import { AUTHENTICATED } from './system-names.ts'

/** One name between separators: plain, or in double quotes, where commas and spaces belong to it. */
const ITEM = /[\s,]*(?:"([^"]*)"|([^\s,"]+))(?=[\s,]|$)/y
const END = /^[\s,]*$/

/** Commas and spaces separate names. @returns undefined for text that cannot be read, such as a quote that is not closed */
export const parseGroupList = (text: string): string[] | undefined => {
  const names: string[] = []
  const item = new RegExp(ITEM)
  for (;;) {
    const start = item.lastIndex
    const found = item.exec(text)
    if (found === null) return END.test(text.slice(start)) ? names.filter((name) => name !== '') : undefined
    names.push(found[1] ?? found[2] ?? '')
  }
}

/** The one group that is everybody's keeps its name. */
export const prefixedGroup = (prefix: string, group: string): string => (group === AUTHENTICATED ? group : `${prefix}${group}`)

export const isSubset = (part: readonly string[], whole: readonly string[]): boolean => {
  const all = new Set(whole)
  return part.every((one) => all.has(one))
}
