import { test } from 'tap'
import { Effects } from '../../src/core/effects.ts'
import { grantOf, statusOf } from '../support/request-facts.ts'

await test('effects are told in the order in which they were asked for', async (t) => {
  const effects = new Effects()
  effects.event('Normal', 'Reason', 'Act', 'note')
  effects.deleteGrants(['a'])
  effects.applyGrant(grantOf())
  effects.writeStatus(undefined, statusOf({}))
  effects.addFinalizer()
  effects.removeFinalizer()
  effects.deleteRequest()
  t.strictSame(effects.decision(), {
    effects: [
      { type: 'notice', notice: { type: 'Normal', reason: 'Reason', action: 'Act', note: 'note' } },
      { type: 'delete-grants', names: ['a'] },
      { type: 'apply-grant', grant: grantOf() },
      { type: 'write-status', status: statusOf({}) },
      { type: 'add-finalizer' },
      { type: 'remove-finalizer' },
      { type: 'delete-request' },
    ],
  })
})

await test('confirming comes alone, and keeps the times', async (t) => {
  const effects = new Effects()
  effects.applyGrant(grantOf())
  effects.confirm()
  effects.confirm()
  effects.requeueAfter(5)
  t.equal(effects.confirms, true)
  t.strictSame(effects.decision(), { effects: [{ type: 'confirm' }], requeueAfter: 5 })
})

await test('a status that says the same is not written', async (t) => {
  const effects = new Effects()
  effects.writeStatus(statusOf({}), structuredClone(statusOf({})))
  effects.deleteGrants([])
  t.strictSame(effects.decision(), { effects: [] })
})

await test('the earliest time wins', async (t) => {
  const effects = new Effects()
  effects.requeueAfter(5)
  effects.requeueAfter(3)
  effects.requeueAfter(9)
  effects.retry('why')
  t.strictSame(effects.decision(), { effects: [], requeueAfter: 3, retry: 'why' })
})
