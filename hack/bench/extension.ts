/** Whether somebody may connect: what a review costs, what a request to a guarded Workspace costs, and both roles as processes. */
import { setTimeout as delay } from 'node:timers/promises'
import { DIRECT_KEYS, measureDirect } from './extension-direct.ts'
import { openConnectionGround, type ConnectionGround } from './extension-ground.ts'
import { measureReviews, REVIEW_KEYS } from './extension-reviews.ts'
import { measureVerify, VERIFY_KEYS } from './extension-verify.ts'
import { measureVisits, VISIT_KEYS } from './extension-visits.ts'
import { interleave } from './interleave.ts'
import { rssMegabytes } from './process-figures.ts'
import type { BenchEnv, Figure, Section } from './section.ts'
import { spreadNote, spreadOf } from './statistics.ts'

const ROLES = ['extension', 'auth'] as const
type Role = (typeof ROLES)[number]

const KEYS_OF = (role: Role): string[] => [`${role}_start_to_ready_median_ms`, `${role}_rss_idle_mb`, `${role}_rss_after_load_mb`]

/** What a restart takes: keys and certificate are there already. */
const measureStart = async (ground: ConnectionGround, role: Role, round: number): Promise<number> => {
  const name = `${role}-${round}`
  const running = await (role === 'extension' ? ground.startExtension(name) : ground.startAuth(name))
  await running.process.stop()
  return running.readyMs
}

const run = async (env: BenchEnv): Promise<Figure[]> => {
  const { starts, idleMs } = env.quick ? { starts: 3, idleMs: 5_000 } : { starts: 7, idleMs: 60_000 }
  const ground = await openConnectionGround(env)
  env.log(`  both roles idle for ${idleMs / 1000} s, then ${starts} starts of each`)
  await delay(idleMs, undefined, { signal: env.signal })
  const memory = async (): Promise<Record<Role, number>> => ({
    extension: await rssMegabytes(ground.extension.process.pid),
    auth: await rssMegabytes(ground.auth.process.pid),
  })
  const idle = await memory()
  const ready = await interleave(ROLES, starts, (role, round) => measureStart(ground, role, round))

  const figures = [...(await measureReviews(env, ground)), ...(await measureDirect(env, ground)), ...(await measureVerify(env, ground)), ...(await measureVisits(env, ground))]
  const loaded = await memory()
  const ofRoles = ROLES.flatMap((role): Figure[] => {
    const [readyKey = '', idleKey = '', loadedKey = ''] = KEYS_OF(role)
    const times = ready.get(role) ?? []
    return [
      { key: readyKey, label: `${role}: start to ready`, value: spreadOf(times).median, unit: 'ms', note: spreadNote(times, 0, 'starts') },
      { key: idleKey, label: `${role}: RSS after ${idleMs / 1000} s`, value: idle[role], unit: 'mb' },
      { key: loadedKey, label: `${role}: RSS after all of this`, value: loaded[role], unit: 'mb' },
    ]
  })
  return [...figures, ...ofRoles]
}

export const EXTENSION: Section = {
  name: 'extension',
  title: 'Whether somebody may connect: ConnectionAccessReviews through a real API server, /verify beside bare node:http, and first visits; both roles from the bundle',
  keys: [...REVIEW_KEYS, ...DIRECT_KEYS, ...VERIFY_KEYS, ...VISIT_KEYS, ...ROLES.flatMap(KEYS_OF)],
  run,
}
