/** CPU and throughput of /verify, beside a bare node:http server that checks the same tokens by node:crypto. */
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Secret } from '../../src/api/secret.ts'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { readAuthOptions } from '../../src/auth/options.ts'
import { readSigningKeys } from '../../src/core/signing-keys.ts'
import { createTokens } from '../../src/jwt/tokens.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { readAnswer } from '../control-plane/api-call.ts'
import { freePort } from '../control-plane/free-port.ts'
import type { ControlPlane } from '../control-plane/start.ts'
import { APP_PATH, HOST, memberOf, type ConnectionGround } from './extension-ground.ts'
import { interleave, ratiosOf } from './interleave.ts'
import { startLoad } from './load.ts'
import { cpuMicroseconds } from './process-figures.ts'
import type { BenchEnv, Figure, ServerProcess } from './section.ts'
import { LOOPBACK, untilOpen } from './servers.ts'
import { spreadNote, spreadOf } from './statistics.ts'

const CONNECTIONS = 16
/** Users with a session, who come round and round. */
const USERS = 1_000
const SESSION_MS = 60 * 60 * 1_000
export const MOST_OF_BARE = 1.5

/** As auth has it when nothing else is set. */
const { jwt: JWT, cookie: COOKIE } = readAuthOptions({ NAMESPACE: SYSTEM_NAMESPACE, ENABLE_OAUTH: 'false' })

interface Contestant {
  name: 'ours' | 'bare'
  port: number
  process: ServerProcess
}

/** Signs as auth does, with its newest key. */
type SignSession = (number: number) => Promise<string>

interface Keys {
  sign: SignSession
  /** In base64, by their ids. */
  byId: Record<string, string>
}

const readKeys = async (cluster: ControlPlane): Promise<Keys> => {
  const { secretName: name, issuer, audience } = JWT
  const secret: Secret = JSON.parse(readAnswer(await cluster.call('GET', `/api/v1/namespaces/${SYSTEM_NAMESPACE}/secrets/${name}`), `the Secret ${name}`))
  const { keys } = readSigningKeys(secret.data)
  const tokens = createTokens({ ring: { signingKey: () => keys.at(-1), keyFor: () => undefined }, clock: systemClock, issuer, audience, newId: randomUUID })
  return {
    sign: (number) => tokens.sign({ ...memberOf(number), path: APP_PATH, domain: HOST, type: 'session' }, { ttlMs: SESSION_MS }),
    byId: Object.fromEntries(keys.map(({ kid, secret: bytes }) => [kid, Buffer.from(bytes).toString('base64')])),
  }
}

/** What nginx passes on of a browser's request, and what it says of it. */
const headersOf = (token: string, number: number): Record<string, string> => ({
  'X-Forwarded-Host': HOST,
  'X-Forwarded-Proto': 'https',
  'X-Forwarded-Uri': `${APP_PATH}/api/kernels/${number}?1700000000000`,
  'X-Forwarded-Method': 'GET',
  'X-Forwarded-For': '192.0.2.7',
  'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  Accept: '*/*',
  'Accept-Language': 'en-US,en;q=0.9',
  'Sec-Fetch-Site': 'same-origin',
  'Sec-Fetch-Mode': 'cors',
  'Sec-Fetch-Dest': 'empty',
  Referer: `https://${HOST}${APP_PATH}/lab`,
  Cookie: `_xsrf=2|b1c2d3e4|0a1b2c3d4e5f60718293a4b5c6d7e8f9|1700000000; ${COOKIE.name}=${token}`,
})

const startBare = async (env: BenchEnv, keys: Keys['byId']): Promise<Contestant> => {
  const port = await freePort()
  const file = join(env.folder, 'bare-verify.json')
  await writeFile(file, JSON.stringify({ port, issuer: JWT.issuer, audience: JWT.audience, keys }), { mode: 0o600 })
  const server = await env.start('bare-verify', process.execPath, [join(import.meta.dirname, 'bare-verify.ts'), file])
  await untilOpen(env, 'the bare server', server, port)
  return { name: 'bare', port, process: server }
}

interface Round {
  cpuUs: number
  perSecond: number
}

const KINDS = [
  { key: 'known', label: 'session seen before', goal: { goal: { atMost: MOST_OF_BARE } } },
  { key: 'new', label: 'session never seen', goal: {} },
] as const
type Kind = (typeof KINDS)[number]

const figuresOf = ({ key, label, goal }: Kind, ours: readonly Round[], bare: readonly Round[]): Figure[] => {
  const figures = (name: string, rounds: readonly Round[]): Figure[] => {
    const cpu = rounds.map(({ cpuUs }) => cpuUs)
    const speeds = rounds.map(({ perSecond }) => perSecond)
    const who = name === 'bare' ? 'bare node:http' : name
    return [
      { key: `verify_${key}_${name}_cpu_us_per_request`, label: `/verify, ${label}, ${who}: CPU`, value: spreadOf(cpu).median, unit: 'us_per_request', note: spreadNote(cpu, 0) },
      { key: `verify_${key}_${name}_throughput_per_second`, label: `/verify, ${label}, ${who}: throughput`, value: spreadOf(speeds).median, unit: 'per_second', note: spreadNote(speeds, 0) },
    ]
  }
  const ratios = ratiosOf(ours.map(({ cpuUs }) => cpuUs), bare.map(({ cpuUs }) => cpuUs))
  return [
    ...figures('ours', ours),
    ...figures('bare', bare),
    { key: `verify_${key}_cpu_to_bare_ratio`, label: `/verify, ${label}: CPU of ours to bare node:http`, value: spreadOf(ratios).median, unit: 'ratio', ...goal, note: spreadNote(ratios, 2) },
  ]
}

export const VERIFY_KEYS: readonly string[] = KINDS.flatMap(({ key }) => [
  ...['ours', 'bare'].flatMap((name) => [`verify_${key}_${name}_cpu_us_per_request`, `verify_${key}_${name}_throughput_per_second`]),
  `verify_${key}_cpu_to_bare_ratio`,
])

export const measureVerify = async (env: BenchEnv, { cluster, auth, authPort }: ConnectionGround): Promise<Figure[]> => {
  const { rounds, turns, fresh } = env.quick ? { rounds: 3, turns: 6_000, fresh: 2_000 } : { rounds: 9, turns: 15_000, fresh: 5_000 }
  const keys = await readKeys(cluster)
  const load = startLoad(env.signal)
  env.atEnd(() => load.stop())
  const contestants: readonly Contestant[] = [{ name: 'ours', port: authPort, process: auth.process }, await startBare(env, keys.byId)]

  const sessions = (count: number): Promise<Record<string, string>[]> => Promise.all(Array.from({ length: count }, async (_, number) => headersOf(await keys.sign(number % USERS), number)))
  const measure = async ({ port, process: server }: Contestant, headers: readonly Record<string, string>[], count: number): Promise<Round> => {
    const step = { path: '/verify', bodies: [''], headers, expect: '' }
    const before = await cpuMicroseconds(server.pid)
    const { seconds } = await load.run({ host: LOOPBACK, port, serverName: LOOPBACK, connections: CONNECTIONS, turns: count, steps: [step] })
    return { cpuUs: ((await cpuMicroseconds(server.pid)) - before) / count, perSecond: count / seconds }
  }
  const compare = async (kind: Kind, roundOf: (contestant: Contestant) => Promise<Round>): Promise<Figure[]> => {
    const results = [...(await interleave(contestants, rounds, roundOf))]
    const [ours = [], bare = []] = results.map(([, values]) => values)
    return figuresOf(kind, ours, bare)
  }

  const [known, unknown] = KINDS
  env.log(`  /verify: ${rounds} rounds of ${turns} requests of ${USERS} users`)
  const sameSessions = await sessions(USERS)
  for (const contestant of contestants) await measure(contestant, sameSessions, turns)
  const ofKnown = await compare(known, (contestant) => measure(contestant, sameSessions, turns))

  env.log(`  /verify: ${rounds} rounds of ${fresh} sessions never seen before`)
  for (const contestant of contestants) await measure(contestant, await sessions(fresh), fresh)
  return [...ofKnown, ...(await compare(unknown, async (contestant) => measure(contestant, await sessions(fresh), fresh)))]
}
