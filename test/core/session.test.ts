import { test } from 'tap'
import { furthest, isRefreshDue, isWithinHorizon, judgeSession } from '../../src/core/session.ts'

const token = { type: 'session', path: '/workspaces/a/own', domain: 'ws.example.com' }
const request = { path: '/workspaces/a/own/lab', host: 'ws.example.com' }

const judged = (changes: Partial<typeof token>, asked: Partial<typeof request> = {}): string => judgeSession({ ...token, ...changes }, { ...request, ...asked })

await test('what a session opens', (t) => {
  t.equal(judged({}), 'opened')
  t.equal(judged({ type: 'bootstrap' }), 'no-session')
  t.equal(judged({ type: 'bootstrap' }, { path: '/other' }), 'no-session')
  t.equal(judged({}, { path: '/workspaces/a/own-secret' }), 'other-path')
  t.equal(judged({}, { path: '/workspaces/a/own-secret', host: 'evil.test' }), 'other-path')
  t.equal(judged({}, { host: 'evil.test' }), 'other-domain')
  t.equal(judged({}, { host: 'ws.example.com:8443' }), 'other-domain')
  t.equal(judged({ path: '' }), 'other-path', 'a session without a path opens nothing')
  t.equal(judged({ domain: '' }), 'other-domain', 'nor one without a host')
  t.equal(judged({ domain: '' }, { host: '' }), 'opened', 'the host is never empty: it was read by a grammar')
  t.equal(furthest('no-session', 'other-path'), 'other-path')
  t.equal(furthest('other-domain', 'other-path'), 'other-domain')
  t.end()
})

const MINUTE = 60_000
const now = 1_767_323_045_000
const rules = { enabled: true, windowMs: 10 * MINUTE, horizonMs: 12 * 60 * MINUTE }

await test('when a session is to be renewed', (t) => {
  const due = (leftMs: number, changes: object = {}, by: Partial<typeof rules> = {}): boolean =>
    isRefreshDue({ ...rules, ...by }, { issuedAt: now - 50 * MINUTE, expiresAt: now + leftMs, ...changes }, now)
  t.ok(due(5 * MINUTE), '5 minutes left of a window of 10')
  t.ok(due(10 * MINUTE), 'the window begins')
  t.ok(due(1), 'at the very end')
  t.notOk(due(20 * MINUTE), '20 minutes left')
  t.notOk(due(10 * MINUTE + 1))
  t.notOk(due(0), 'expired')
  t.notOk(due(-1))
  t.notOk(due(5 * MINUTE, { skipRefresh: true }), 'a token that says so')
  t.notOk(due(5 * MINUTE, {}, { enabled: false }), 'switched off')
  t.notOk(due(Number.NaN), 'without an end')
  t.notOk(due(5 * MINUTE, { issuedAt: Number.NaN }), 'without a beginning')
  t.ok(due(5 * MINUTE, { issuedAt: now - 13 * 60 * MINUTE }), 'beyond the horizon it is asked about all the same')
  t.ok(isWithinHorizon(rules, { issuedAt: now - rules.horizonMs + 1 }, now))
  t.notOk(isWithinHorizon(rules, { issuedAt: now - rules.horizonMs }, now))
  t.notOk(isWithinHorizon(rules, { issuedAt: Number.NaN }, now))
  t.end()
})
