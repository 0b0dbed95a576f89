/** Reading objects before any schema has looked at them. */

export const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** An own property, or undefined: names from outside never reach a prototype. */
export const own = (value: unknown, key: string): unknown => (isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined)

const MAX_SHOWN_LENGTH = 80

/** A value as it is quoted in a message: short and on one line. */
export const shown = (value: unknown): string => {
  if (typeof value === 'string') return JSON.stringify(value.length > MAX_SHOWN_LENGTH ? `${value.slice(0, MAX_SHOWN_LENGTH)}…` : value)
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return `${value}`
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : 'nothing'
}
