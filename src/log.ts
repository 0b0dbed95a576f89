/** The logger of every role: JSON lines, and nothing secret in them, whatever is handed in. */
import { pino, type DestinationStream, type LevelWithSilent, type Logger } from 'pino'
import { standardOutput } from './log-output.ts'

export interface LogOptions {
  level: LevelWithSilent
  /** Left out: standard output. */
  destination?: DestinationStream
}

const HIDDEN = '[hidden]'
const TOO_DEEP = '[too deep]'
const MAX_DEPTH = 12

/** Fields whose value is never shown: they, or longer names that end in them, such as client_secret or tls.key. */
const SECRET_FIELD = /(authorization|cookie|token|password|passphrase|secret|key|credentials?|key-?data)$/i
/** kubectl's copy of the object that was applied. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration'

/** Credentials inside a sentence: an Authorization value, a JSON web token, a private key. */
const SECRET_TEXT = new RegExp(
  [
    String.raw`\b(?:Bearer|Basic)\s+[\w~+/.=-]{6,}`,
    String.raw`\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*`,
    String.raw`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`,
  ].join('|'),
  'g',
)

const cleanText = (text: string): string => text.replace(SECRET_TEXT, HIDDEN)

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const cleanError = (error: Error, depth: number): Record<string, unknown> => {
  const code: unknown = Reflect.get(error, 'code')
  return {
    type: error.name,
    message: cleanText(error.message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: cleanText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: clean(error.cause, depth + 1, false) }),
  }
}

/**
 * A copy without secrets. Objects of a class other than Error are left to their serializer.
 * @param inSecret true inside a Secret or a list of them, where data is secret whatever its keys
 */
const clean = (value: unknown, depth: number, inSecret: boolean): unknown => {
  if (typeof value === 'string') return cleanText(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth > MAX_DEPTH) return TOO_DEEP
  if (value instanceof Error) return cleanError(value, depth)
  if (Array.isArray(value)) return value.map((item) => clean(item, depth + 1, inSecret))
  return isPlain(value) ? cleanObject(value, depth, inSecret) : value
}

const cleanObject = (value: object, depth: number, inSecret: boolean): Record<string, unknown> => {
  const kind: unknown = Reflect.get(value, 'kind')
  const secret = inSecret || kind === 'Secret' || kind === 'SecretList'
  const result: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(value)) {
    const isNamedSecret = SECRET_FIELD.test(name) && field !== undefined && field !== null
    const isContent = secret && (name === 'data' || name === 'stringData' || name === LAST_APPLIED)
    result[name] = isNamedSecret || isContent ? HIDDEN : clean(field, depth + 1, secret)
  }
  return result
}

/** What a call of a level is given. An error without a message would lend pino its own, as it is. */
const cleanArgs = (args: readonly unknown[]): unknown[] => {
  const [first, message, ...values] = args.map((arg) => (typeof arg === 'string' ? cleanText(arg) : arg))
  if (message !== undefined || typeof first !== 'object' || first === null) return [first, message, ...values]
  const err: unknown = first instanceof Error ? first : Reflect.get(first, 'err')
  if (!(err instanceof Error)) return [first]
  return [first === err ? { err } : first, cleanText(err.message)]
}

export const createLogger = ({ level, destination = standardOutput() }: LogOptions): Logger => {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: Record<string, unknown>) => cleanObject(fields, 0, false),
    },
    // Errors are cleaned before a serializer sees them; pino's own would show every property of one.
    serializers: { err: (value: unknown) => clean(value, 0, false), error: (value: unknown) => clean(value, 0, false) },
    hooks: {
      logMethod(this: Logger, args: Parameters<Logger['info']>, method: (this: Logger, ...args: Parameters<Logger['info']>) => void) {
        Reflect.apply(method, this, cleanArgs(args))
      },
    },
  }
  const logger: Logger = pino(options, destination)
  for (const name of ['child', 'setBindings']) cleanArguments(logger, name)
  return logger
}

/** The formatter above does not see what a child is bound to. Children inherit the method that is set here. */
const cleanArguments = (logger: Logger, name: string): void => {
  const original: unknown = Reflect.get(logger, name)
  if (typeof original !== 'function') throw new Error(`the logger has no ${name}`)
  Object.defineProperty(logger, name, {
    value(this: Logger, ...args: unknown[]): unknown {
      const [bindings, ...others] = args
      return Reflect.apply(original, this, [clean(bindings, 0, false), ...others])
    },
  })
}
