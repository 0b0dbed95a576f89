/** How long each role takes from the start of its process to ready, and what memory it holds. */
import { setTimeout as delay } from 'node:timers/promises'
import { SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { freePort } from '../control-plane/free-port.ts'
import { fullRequestReview } from './admission-reviews.ts'
import { accountOf, openGround, selfSignedArgs } from './ground.ts'
import { interleave } from './interleave.ts'
import { startLoad } from './load.ts'
import { rssMegabytes } from './process-figures.ts'
import type { BenchEnv, Figure, Section } from './section.ts'
import { LOOPBACK, SERVER_NAME, startRole, webhookArgs, writeServingFiles, type RoleProcess } from './servers.ts'
import { spreadNote, spreadOf } from './statistics.ts'

interface Role {
  /** In the keys. */
  key: string
  label: string
  start(name: string): Promise<RoleProcess>
}

const ROLE_KEYS = ['webhook_files', 'webhook_self_signed', 'controller'] as const

const keysOf = (key: string): string[] => [`${key}_start_to_ready_median_ms`, `${key}_rss_ready_mb`, `${key}_rss_idle_mb`]

interface Start {
  readyMs: number
  rssMb: number
}

const measureStart = async (role: Role, round: number): Promise<Start> => {
  const running = await role.start(`${role.key}-${round}`)
  const rssMb = await rssMegabytes(running.process.pid)
  await running.process.stop()
  return { readyMs: running.readyMs, rssMb }
}

const run = async (env: BenchEnv): Promise<Figure[]> => {
  const { starts, idleMs, load: turns } = env.quick ? { starts: 3, idleMs: 5_000, load: 3_000 } : { starts: 7, idleMs: 60_000, load: 20_000 }
  const { cluster, webhook } = await openGround(env)
  const controller = await accountOf(cluster, SERVICE_ACCOUNT.controller)
  const files = await writeServingFiles(env.folder)
  const servingPort = await freePort()
  const roles: Role[] = [
    { key: 'webhook_files', label: 'webhook, certificate from files', start: (name) => startRole(env, name, webhook, webhookArgs(servingPort, files)) },
    // The Secret with its certificate is there already: that is what a restart and every replica but the first find.
    { key: 'webhook_self_signed', label: 'webhook, certificate of its own', start: async (name) => startRole(env, name, webhook, selfSignedArgs(await freePort())) },
    { key: 'controller', label: 'controller, nothing to do', start: (name) => startRole(env, name, controller, ['controller']) },
  ]
  env.log(`  ${starts} starts of each role`)
  const results = await interleave(roles, starts, measureStart)

  env.log(`  each role idle for ${idleMs / 1000} s, then ${turns} admissions`)
  const idle = await Promise.all(roles.map(async (role) => ({ role, running: await role.start(`${role.key}-idle`) })))
  await delay(idleMs, undefined, { signal: env.signal })
  const figures: Figure[] = []
  for (const { role, running } of idle) {
    const measured = results.get(role) ?? []
    const ready = spreadOf(measured.map(({ readyMs }) => readyMs))
    const rss = spreadOf(measured.map(({ rssMb }) => rssMb))
    const [readyKey = '', rssKey = '', idleKey = ''] = keysOf(role.key)
    figures.push(
      { key: readyKey, label: `${role.label}: start to ready`, value: ready.median, unit: 'ms', note: spreadNote(measured.map(({ readyMs }) => readyMs), 0, 'starts') },
      { key: rssKey, label: `${role.label}: RSS when ready`, value: rss.median, unit: 'mb', note: spreadNote(measured.map(({ rssMb }) => rssMb), 0, 'starts') },
      { key: idleKey, label: `${role.label}: RSS after ${idleMs / 1000} s`, value: await rssMegabytes(running.process.pid), unit: 'mb' },
    )
  }

  const loaded = idle.find(({ role }) => role.key === 'webhook_files')
  if (loaded === undefined) throw new Error('there is no webhook to put load on')
  const load = startLoad(env.signal)
  env.atEnd(() => load.stop())
  const step = { path: '/validate/access-request', expect: '"allowed":true', bodies: Array.from({ length: 64 }, (_, number) => fullRequestReview(number)) }
  await load.run({ host: LOOPBACK, port: servingPort, ca: files.ca, serverName: SERVER_NAME, connections: 16, turns, steps: [step] })
  const afterLoad = await rssMegabytes(loaded.running.process.pid)
  return [...figures, { key: 'webhook_rss_after_load_mb', label: `webhook: RSS after ${turns} admissions over 16 connections`, value: afterLoad, unit: 'mb' }]
}

export const ROLES: Section = {
  name: 'roles',
  title: 'Each role from the bundle, with its own account, on a real API server: start of the process to 200 of /readyz, and memory',
  keys: [...ROLE_KEYS.flatMap(keysOf), 'webhook_rss_after_load_mb'],
  run,
}
