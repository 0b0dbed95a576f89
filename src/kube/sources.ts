/** Everything that a role keeps by watches: whether it was read, and whether the API server still says something. */
import type { Clock } from './ports.ts'
import type { Reflector } from './reflector.ts'

/** A watch that was silent for longer than this (milliseconds) says nothing about now: four of them should have ended since. */
export const STALE_MS = 60_000

export interface Source {
  /** In metrics and in what is said of it. */
  name: string
  reflector: Pick<Reflector, 'hasSynced' | 'lastContact' | 'stale'>
}

export interface SourcesHealth {
  /** One sentence when something was not read yet, or nothing was heard of it for long. */
  unready: () => string | undefined
  /** Seconds since anything was heard, by name; -1 before the first time. */
  silence: () => Map<string, number>
}

export const sourcesHealth = (sources: readonly Source[], clock: Clock): SourcesHealth => ({
  unready: () => {
    const unread = sources.filter(({ reflector }) => !reflector.hasSynced).map(({ name }) => name)
    if (unread.length > 0) return `not read yet: ${unread.join(', ')}`
    const silent = sources.filter(({ reflector }) => reflector.stale(clock.now(), STALE_MS)).map(({ name }) => name)
    return silent.length > 0 ? `nothing was heard of ${silent.join(', ')} for ${STALE_MS / 1000} s` : undefined
  },
  silence: () => new Map(sources.map(({ name, reflector: { lastContact } }) => [name, lastContact === undefined ? -1 : (clock.now() - lastContact) / 1000])),
})
