/** The reviews over a memory API server, fake time and plain signing keys. */
import type { TSchema } from 'typebox'
import { DEFAULT_EXTENSION_OPTIONS } from '../../../src/extension/options.ts'
import type { Caller, ReviewKind, ReviewOutcome } from '../../../src/extension/review-kind.ts'
import { reviewKinds, type ReviewDeps } from '../../../src/extension/reviews/kinds.ts'
import { fakeTime, type FakeTime } from '../../support/fake-time.ts'
import { logLines, type LogLines } from '../../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../../support/memory-kube.ts'
import { START, tokenBench, type TokenBench } from '../../support/token-bench.ts'

export { START }
export const ALICE: Caller = { user: 'alice', uid: 'u-1', groups: ['team', 'system:authenticated'], extra: { 'example.com/role': ['a', 'b'] } }

/** A kind whose types nobody knows here. */
export type AnyKind = ReviewKind

export interface Bench {
  kube: MemoryKube
  time: FakeTime
  log: LogLines
  keys: TokenBench
  tokens: ReturnType<TokenBench['other']>
  kinds: ReadonlyMap<string, AnyKind>
  review(kind: string, spec: object, more?: { namespace?: string; caller?: Caller; dryRun?: boolean; signal?: AbortSignal }): Promise<ReviewOutcome<unknown>>
  problems(kind: string, spec: object): ReturnType<ReviewKind['problems']>
  echo(kind: string, spec: object): unknown
  /** Verb and place of each call of a port. */
  asked(): string[]
}

/** @param more other options, or no signing keys */
export const reviewBench = (more: { options?: Partial<ReviewDeps['options']>; withoutTokens?: true } = {}): Bench => {
  const time = fakeTime(START)
  const keys = tokenBench()
  const kube = memoryKube({ now: () => time.clock.now(), after: (ms, run) => time.timers.after(ms, run) })
  const log = logLines()
  const tokens = keys.other('workspaces-controller', 'workspaces-controller')
  const kinds = new Map(
    reviewKinds({
      reader: kube,
      permission: kube,
      tokens: more.withoutTokens === true ? undefined : tokens,
      clock: time.clock,
      timers: time.timers,
      logger: log.log,
      options: { ...DEFAULT_EXTENSION_OPTIONS, ...more.options },
    }).map((kind) => [kind.kind, kind]),
  )
  const kindOf = (name: string): AnyKind => {
    const kind = kinds.get(name)
    if (kind === undefined) throw new Error(`there is no ${name}`)
    return kind
  }
  return {
    kube,
    time,
    log,
    keys,
    tokens,
    kinds,
    review: (kind, spec, { namespace = 'team', caller = ALICE, dryRun = false, signal = new AbortController().signal } = {}) =>
      kindOf(kind).review({ namespace, spec, caller, dryRun, signal }),
    problems: (kind, spec) => kindOf(kind).problems(spec),
    echo: (kind, spec) => kindOf(kind).echo(spec),
    asked: () => kube.calls.map(({ verb, resource, namespace, name }) => [verb, resource, namespace, name].filter((part) => part !== undefined && part !== '').join(' ')),
  }
}

/** Names of the fields of an object schema. */
export const fieldsOf = (schema: TSchema): string[] => Object.keys((schema as unknown as { properties: object }).properties)
