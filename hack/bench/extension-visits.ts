/** Many first visits to one Workspace at the same moment: how many reviews they make, whether one is lost, and how long they wait. */
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { APP_PATH, HOST, memberOf, VISITORS, type ConnectionGround } from './extension-ground.ts'
import type { BenchEnv, Figure } from './section.ts'
import { LOOPBACK, type RoleProcess } from './servers.ts'
import { spreadNote, spreadOf } from './statistics.ts'

const VISITS = 1_000
const ANSWER_MS = 30_000
/** Until auth has taken connections that were opened. */
const SETTLE_MS = 500

const openSocket = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: LOOPBACK, port })
    socket.setEncoding('latin1').setNoDelay(true)
    socket.once('error', reject)
    socket.once('connect', () => resolve(socket))
  })

const requestBytes = (token: string): Buffer => {
  const headers = { Host: LOOPBACK, Authorization: `Bearer ${token}`, 'X-Forwarded-Host': HOST, 'X-Forwarded-Proto': 'https', 'X-Forwarded-Uri': `${APP_PATH}/lab`, 'X-Forwarded-Method': 'GET' }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`GET /auth HTTP/1.1\r\n${lines.join('')}\r\n`)
}

/** @returns the head of the answer. @throws Error when there is none */
const ask = (socket: Socket, request: Buffer): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = ''
    socket.on('data', (piece: string) => {
      text += piece
      const end = text.indexOf('\r\n\r\n')
      if (end >= 0) resolve(text.slice(0, end))
    })
    socket.once('close', () => reject(new Error('auth closed the connection of a visitor')))
    socket.setTimeout(ANSWER_MS, () => socket.destroy())
    socket.write(request)
  })

const isSignedIn = (head: string): boolean => head.startsWith('HTTP/1.1 200 ') && /^set-cookie: workspace_auth=ey/im.test(head)

/** ConnectionAccessReviews that reached the extension, whatever was answered. */
const reviewsSoFar = async ({ metricsPort }: RoleProcess): Promise<number> => {
  const text = await (await fetch(`http://${LOOPBACK}:${metricsPort}/metrics`)).text()
  return text
    .split('\n')
    .filter((line) => line.startsWith('access_gate_reviews_total{') && line.includes('kind="ConnectionAccessReview"'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

interface Round {
  reviews: number
  lost: number
  ms: number
}

const measureRound = async ({ extension, authPort, issuer }: ConnectionGround): Promise<Round> => {
  const tokens = await Promise.all(Array.from({ length: VISITORS }, (_, number) => issuer.idToken(memberOf(number).user)))
  const requests = tokens.map(requestBytes)
  const sockets = await Promise.all(Array.from({ length: VISITS }, () => openSocket(authPort)))
  await delay(SETTLE_MS)
  const before = await reviewsSoFar(extension)
  const start = performance.now()
  const visits = await Promise.allSettled(sockets.map((socket, number) => ask(socket, requests[number % VISITORS] ?? Buffer.alloc(0))))
  const ms = performance.now() - start
  for (const socket of sockets) socket.destroy()
  const lost = visits.filter((visit) => visit.status === 'rejected' || !isSignedIn(visit.value)).length
  return { reviews: (await reviewsSoFar(extension)) - before, lost, ms }
}

export const VISIT_KEYS: readonly string[] = ['first_visits_reviews_count', 'first_visits_lost_count', 'first_visits_answered_ms']

export const measureVisits = async (env: BenchEnv, ground: ConnectionGround): Promise<Figure[]> => {
  const rounds = env.quick ? 3 : 7
  env.log(`  ${rounds} rounds of ${VISITS} first visits at once, of ${VISITORS} users`)
  // The first one finds nothing warm.
  await measureRound(ground)
  const measured: Round[] = []
  for (let round = 0; round < rounds; round += 1) {
    env.signal.throwIfAborted()
    measured.push(await measureRound(ground))
  }
  const reviews = measured.map((round) => round.reviews)
  const lost = measured.map((round) => round.lost)
  const times = measured.map(({ ms }) => ms)
  return [
    { key: 'first_visits_reviews_count', label: `${VISITS} first visits at once: reviews that reached the extension, most`, value: spreadOf(reviews).most, unit: 'count', goal: { atMost: VISITORS }, note: `of ${VISITORS} users; ${spreadNote(reviews, 0)}` },
    { key: 'first_visits_lost_count', label: 'visitors without 200 and a cookie, most', value: spreadOf(lost).most, unit: 'count', goal: { atMost: 0 }, note: spreadNote(lost, 0) },
    { key: 'first_visits_answered_ms', label: 'until all of them were answered', value: spreadOf(times).median, unit: 'ms', note: spreadNote(times, 0) },
  ]
}
