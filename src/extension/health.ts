/** Health as the API server tells of its own: a word when all is well, a list of checks when not, or when asked for. */
import type { Health } from '../metrics-server.ts'

export interface HealthCheck {
  /** Such as signing-keys. */
  name: string
  health: Health
}

export interface HealthText {
  code: 200 | 500
  text: string
}

const PING: HealthCheck = { name: 'ping', health: () => undefined }

/** @param path the name of the endpoint, such as readyz */
export const healthText = (path: string, checks: readonly HealthCheck[], verbose: boolean): HealthText => {
  const results = [PING, ...checks].map(({ name, health }) => ({ name, why: health() }))
  const isFine = results.every(({ why }) => why === undefined)
  if (isFine && !verbose) return { code: 200, text: 'ok' }
  const lines = results.map(({ name, why }) => (why === undefined ? `[+]${name} ok` : `[-]${name} failed: ${why}`))
  return { code: isFine ? 200 : 500, text: `${lines.join('\n')}\n${path} check ${isFine ? 'passed' : 'failed'}\n` }
}

/** All that is wrong, as one sentence; undefined when nothing is. */
export const allHealthy =
  (checks: readonly HealthCheck[]): Health =>
  () => {
    const problems = checks.flatMap(({ health }) => health() ?? [])
    return problems.length === 0 ? undefined : problems.join('; ')
  }
