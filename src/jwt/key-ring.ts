/** The signing keys of a role, kept in step with one Secret by a watch. */
import type { Logger } from 'pino'
import type { Secret } from '../api/secret.ts'
import { planRotation, readSigningKeys, type SigningKey } from '../core/signing-keys.ts'
import { CodedError, messageOf } from '../errors.ts'
import type { Clock, Reader, Watcher, Writer } from '../kube/ports.ts'
import { createReflector } from '../kube/reflector.ts'
import { SECRETS } from '../kube/resources.ts'
import type { Source } from '../kube/sources.ts'
import { createStore } from '../kube/store.ts'
import { backoffMs, sleep, type Timers } from '../kube/timers.ts'
import { changeKeySecret, missingSecret, secretText, withNewKey, type KeySecret, type RandomBytes } from './key-secret.ts'

export interface KeyRingOptions {
  /** The Secret with the keys. */
  secret: KeySecret
  /** Milliseconds in which every replica will have seen a new key: until then it signs nothing. */
  newKeyUseDelayMs: number
}

export interface KeyRingDeps {
  kube: Pick<Reader, 'get' | 'list'> & Watcher & Pick<Writer, 'replace'>
  clock: Clock
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  randomBytes: RandomBytes
  logger: Pick<Logger, 'info' | 'warn' | 'debug' | 'error'>
}

export interface KeyRing {
  /** For health. */
  readonly source: Source
  /** Increments whenever the set of keys changes. */
  readonly generation: number
  /** One sentence that says what to do, while there is no key; for readyz. */
  unready(): string | undefined
  /**
   * The newest key that has been known for long enough. Those that were there at the first reading have been; as long as there is
   * no other, so has the first that comes. undefined without any key.
   */
  signingKey(): SigningKey | undefined
  /** Any key that is in the Secret; one that was removed from it is not known any more. */
  keyFor(kid: string): SigningKey | undefined
  /** Watches, and puts a first key into a Secret that has none, again and again until that worked. Until the signal aborts; never rejects. */
  run(signal: AbortSignal): Promise<void>
  /**
   * Reads the Secret now, and puts a first key into it when it has none; its keys are in use when this resolves. To be awaited before
   * `run` by a role that is not to start without keys.
   * @throws CodedError KUBE_NOT_FOUND when the Secret is missing, KUBE_FORBIDDEN; the message says what to apply. KUBE_*, ROTATION_REFUSED
   */
  ensureFirstKey(): Promise<void>
}

interface HeldKey {
  key: SigningKey
  /** On the clock of the timers; it may sign from then on. */
  usableAt: number
}

const kidOf = ({ key }: HeldKey): string => key.kid

/** How often a Secret without keys is looked at, besides whenever it changes. */
const BACKOFF = { baseMs: 1_000, capMs: 30_000 }

export const createKeyRing = (deps: KeyRingDeps, { secret: where, newKeyUseDelayMs }: KeyRingOptions): KeyRing => {
  const { kube, clock, timers, random, randomBytes, logger } = deps
  const { namespace, name } = where
  const object = `${namespace}/${name}`
  const store = createStore<Secret>({ log: logger })
  const reflector = createReflector({ kube, resource: SECRETS, namespace, fieldSelector: `metadata.name=${name}`, store, clock, timers, random, log: logger })
  /** Newest last. */
  let held: HeldKey[] = []
  let byKid: ReadonlyMap<string, SigningKey> = new Map()
  let generation = 0
  let problemsTold = ''
  /** Why there was no first key at the last try. */
  let lastFailure: string | undefined
  let wake = new AbortController()

  const tellProblems = (problems: readonly string[]): void => {
    const told = problems.join('\n')
    if (told === problemsTold) return
    problemsTold = told
    for (const problem of problems) logger.warn({ object, problem }, 'an entry of the Secret with the signing keys cannot be used')
  }

  const hold = (key: SigningKey): HeldKey => {
    const known = held.find((other) => other.key.equals(key))
    // When there is none that could sign meanwhile, waiting would only be an outage.
    return known ?? { key, usableAt: timers.monotonic() + (held.length === 0 ? 0 : newKeyUseDelayMs) }
  }

  const takeKeys = (secret: Secret | undefined): void => {
    const { keys, problems } = readSigningKeys(secret?.data)
    tellProblems(problems)
    const next = keys.map(hold)
    const isSame = next.length === held.length && next.every((entry) => held.includes(entry))
    if (isSame) return
    const removed = held.filter((entry) => !next.includes(entry)).map(kidOf)
    const added = next.filter((entry) => !held.includes(entry)).map(kidOf)
    held = next
    if (held.length > 0) lastFailure = undefined
    byKid = new Map(next.map(({ key }) => [key.kid, key]))
    generation += 1
    logger.info({ object, added, removed }, 'the signing keys have changed')
  }

  store.onChange(() => {
    takeKeys(store.get(namespace, name))
    wake.abort()
  })

  const putFirstKey = async (): Promise<void> => {
    let added: string | undefined
    const secret = await changeKeySecret({ reader: kube, writer: kube }, where, (data) => {
      added = undefined
      if (readSigningKeys(data).keys.length > 0) return undefined
      const plan = planRotation({ data, now: clock.now(), keep: 1 })
      if ('refuse' in plan) throw new CodedError('ROTATION_REFUSED', `${secretText(where)} got no first key: ${plan.refuse}`)
      added = plan.add
      return withNewKey(data, plan.add, randomBytes)
    })
    if (added !== undefined) logger.info({ object, added }, 'a first signing key was put into the Secret')
    store.put(secret)
  }

  let underWay: Promise<void> | undefined
  const ensureFirstKey = (): Promise<void> => {
    underWay ??= putFirstKey().finally(() => {
      underWay = undefined
    })
    return underWay
  }

  const tryFirstKey = async (): Promise<void> => {
    try {
      await ensureFirstKey()
    } catch (error) {
      const text = messageOf(error)
      // What we say ourselves names the Secret and what to do; what a broken connection says does not.
      const message = text.startsWith(secretText(where)) ? text : `${secretText(where)} with the signing keys cannot be read or written now: ${text}`
      if (message !== lastFailure) logger.warn({ object, error: message }, 'there is no signing key yet, it is tried again')
      lastFailure = message
    }
  }

  /** Waits for a change of the Secret, or for the time. */
  const pause = async (ms: number | undefined, signal: AbortSignal): Promise<void> => {
    wake = new AbortController()
    const either = AbortSignal.any([signal, wake.signal])
    if (ms !== undefined) return sleep(timers, ms, either)
    const { promise, resolve } = Promise.withResolvers<void>()
    if (either.aborted) return
    either.addEventListener('abort', () => resolve(), { once: true })
    return promise
  }

  const keepAKey = async (signal: AbortSignal): Promise<void> => {
    let failures = 0
    while (!signal.aborted) {
      if (held.length === 0) await tryFirstKey()
      // Asked only now, with nothing awaited up to the pause: no change goes by unseen.
      const isThere = held.length > 0
      failures = isThere ? 0 : failures + 1
      await pause(isThere ? undefined : backoffMs(failures - 1, { ...BACKOFF, random }), signal)
    }
  }

  return {
    source: { name: 'signing keys', reflector },
    get generation() {
      return generation
    },
    unready: () => {
      if (held.length > 0) return undefined
      if (lastFailure !== undefined) return lastFailure
      if (!reflector.hasSynced) return `${secretText(where)} with the signing keys was not read yet`
      return store.get(namespace, name) === undefined ? missingSecret(where) : `${secretText(where)} holds no signing key that can be used`
    },
    signingKey: () => {
      const now = timers.monotonic()
      return held.findLast(({ usableAt }) => usableAt <= now)?.key ?? soonest(held)
    },
    keyFor: (kid) => byKid.get(kid),
    run: async (signal) => {
      await Promise.all([reflector.run(signal), keepAKey(signal)])
    },
    ensureFirstKey,
  }
}

/** Where none is usable yet, the one that will be first: all others that could sign are gone. */
const soonest = (held: readonly HeldKey[]): SigningKey | undefined =>
  held.reduce<HeldKey | undefined>((best, entry) => (best === undefined || entry.usableAt <= best.usableAt ? entry : best), undefined)?.key
