/** Random histories of the world around one request; the invariants hold after every single write. */
import fc from 'fast-check'
import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { isFinal } from '../../src/core/conditions.ts'
import { inlineCheck, podOf, policyOf, policySpecOf, taskOf } from '../support/request-facts.ts'
import { approverCheck, describeHistory, history, type History } from '../support/request-histories.ts'
import { checkRest, must, Watch } from '../support/request-invariants.ts'
import { World, type Write } from '../support/request-world.ts'

const RUNS = 1_000

/** @returns how many grants were made */
const play = ({ policies, podUid, finalizers, moves }: History): number => {
  const world = new World({ podUid, metadata: { finalizers } })
  const watch = new Watch(world)
  const onWrite = (write: Write): void => watch.onWrite(write)
  world.onWrite = onWrite
  world.live.pod = podOf()
  for (const [index, checks] of policies.entries())
    world.live.policies.set(index === 0 ? 'ask' : 'also', policyOf(index === 0 ? 'ask' : 'also', policySpecOf(checks)))
  let ended: AccessRequest | undefined
  for (const [{ event: happens }, move] of moves) {
    happens(world)
    watch.look()
    let writes = 0
    if (move.do === 'catch up') world.catchUp()
    if (move.do === 'reconcile') world.reconcile()
    if (move.do === 'cut off') {
      world.onWrite = (write) => {
        onWrite(write)
        writes += 1
        if (writes !== move.afterWrite) return
        if (move.by === null) world.crash()
        move.by?.event(world)
        watch.look()
      }
      world.reconcile()
      world.onWrite = onWrite
    }
    if (move.do === 'settle') {
      world.settle()
      checkRest(world)
    }
    if (ended !== undefined && world.request !== undefined)
      must(JSON.stringify(world.request.status) === JSON.stringify(ended.status), 'a final status changed')
    if (isFinal(world.request?.status)) ended = world.request
  }
  world.grantsFail = false
  world.settle()
  checkRest(world)
  return watch.granted
}

/** A counterexample is printed as a story. */
const readable = history.map((told) => Object.assign(told, { [fc.toStringMethod]: () => describeHistory(told) }))

await test('no history grants without a check, outlives its Pod, revives or spins', async (t) => {
  let granted = 0
  fc.assert(
    fc.property(readable, (told) => {
      if (play(told) > 0) granted += 1
    }),
    { numRuns: RUNS },
  )
  t.ok(granted > RUNS / 10, `grants were made in ${granted} of ${RUNS} histories`)
})

await test('whatever stands in a check object, nothing is thrown and nothing passes that does not say so', async (t) => {
  const status = fc.oneof(
    fc.jsonValue(),
    fc.record({ state: fc.jsonValue(), conditions: fc.jsonValue(), approversResponse: fc.jsonValue() }, { requiredKeys: [] }),
    fc.record({ conditions: fc.array(fc.jsonValue()), approversResponse: fc.array(fc.jsonValue()) }),
  )
  fc.assert(
    fc.property(status, fc.boolean(), (told, withApprovers) => {
      const world = new World()
      world.live.pod = podOf()
      world.live.policies.set('ask', policyOf('ask', policySpecOf([withApprovers ? approverCheck : inlineCheck()])))
      world.live.objects.set('ApprovalTask/x', { ...taskOf('x', ''), status: told })
      world.settle()
      must(world.live.roles.size === 0 || /"(approved|passed|True)"/.test(JSON.stringify(told)), 'it passed')
    }),
    { numRuns: 500 },
  )
  t.pass()
})

await test('deciding changes none of its facts', async (t) => {
  const world = new World()
  world.live.pod = podOf()
  world.live.policies.set('ask', policyOf())
  world.live.objects.set('ApprovalTask/x', taskOf('x', 'approved'))
  // The world freezes the facts that it hands out: writing to them would throw.
  world.settle()
  t.equal(world.live.roles.size, 1)
})
