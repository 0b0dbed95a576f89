/** With approval off, or nobody knowing whether it is on: nothing begins, and what was granted still ends. */
import { test } from 'tap'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import { checksOf, observedOf, podOf, snapshotOf, UNSEEN } from '../support/request-facts.ts'
import { approved, decide, granted, lines, PASSED, passedStatus, rejected, told, types, waitingFor, withStatus } from '../support/request-stages.ts'

const NOT_ON: Record<string, RequestFacts['flags']> = {
  'D19: with a flag off': { state: 'off', message: 'approval is off', proxyPermissions: true },
  'D22: with the flags unknown': { state: 'unknown', message: 'nobody knows whether approval is on' },
}

for (const [when, flags] of Object.entries(NOT_ON)) {
  const message = flags.state === 'on' ? '' : flags.message
  await test(`${when} nothing is matched or evaluated`, async (t) => {
    t.strictSame(told(decide({ flags, checks: checksOf([approved]) })), [
      lines({ policy: UNSEEN, check: `Unknown/Pending ${message}`, sync: `Unknown/Pending ${message}`, ready: UNSEEN }),
    ])
    t.strictSame(told(decide({ flags, request: waitingFor(snapshotOf()), checks: checksOf([approved]) })), [
      lines({ check: `Unknown/Pending ${message}`, sync: `Unknown/Pending ${message}`, ready: `Unknown/Pending ${message}` }),
    ])
  })
  await test(`${when} nothing is granted that has passed, and nothing is repaired`, async (t) => {
    const sync = `Unknown/Pending ${message}` as const
    t.strictSame(told(decide({ flags, request: withStatus(passedStatus), checks: checksOf([approved]) })), [lines({ check: PASSED, sync, ready: sync })])
    t.strictSame(told(decide({ ...granted, flags, grants: observedOf(), confirmed: true })), [lines({ check: PASSED, sync, ready: sync })])
  })
  await test(`${when} a grant stays`, async (t) => {
    t.strictSame(decide({ ...granted, flags }).effects, [])
  })
  const ENDS: Record<string, Partial<RequestFacts>> = {
    'its Pod finishes': { pod: { state: 'finished', pod: podOf({ phase: 'Succeeded' }) } },
    'its Pod is gone': { pod: { state: 'missing' } },
    'its Pod is replaced': { pod: { state: 'replaced', uid: 'pod-2' } },
    'its Connector is gone': { connector: undefined },
  }
  for (const [end, facts] of Object.entries(ENDS)) {
    await test(`${when} a grant is revoked when ${end}`, async (t) => {
      t.strictSame(types(decide({ ...granted, flags, ...facts })), ['delete-grants', 'notice', 'write-status'])
    })
  }
  await test(`${when} a grant is revoked when its check is rejected`, async (t) => {
    t.strictSame(types(decide({ ...granted, flags, checks: checksOf([rejected]) })), ['notice', 'delete-grants', 'notice', 'write-status'])
  })
}
