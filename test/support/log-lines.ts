/** A logger that keeps its lines, for assertions. */
import type { Logger } from 'pino'
import { createLogger } from '../../src/log.ts'

export interface LogLines {
  log: Logger
  /** Level and message of each line, for example "warn the watch failed". */
  messages: () => string[]
  /** The whole lines, parsed. */
  readonly lines: Record<string, unknown>[]
}

export const logLines = (): LogLines => {
  const lines: Record<string, unknown>[] = []
  const log = createLogger({ level: 'trace', destination: { write: (line: string) => lines.push(JSON.parse(line)) } })
  return { log, lines, messages: () => lines.map(({ level, msg }) => `${String(level)} ${String(msg)}`) }
}
