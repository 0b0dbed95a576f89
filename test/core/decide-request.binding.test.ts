/** Which Pod and which Connector a request is for, and Pods that never come. */
import { test } from 'tap'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import {
  APPROVAL_TASKS,
  checksOf,
  CONNECTOR_TEXT,
  connectorOf,
  linesOf,
  NOW,
  POD_TEXT,
  podOf,
  policyOf,
  policySpecOf,
  requestOf,
  snapshotOf,
  statusOf,
  UNSEEN,
} from '../support/request-facts.ts'
import { approved, decide, granted, grantedStatus, lines, passedSnapshot, told, types, waitingFor, written } from '../support/request-stages.ts'

await test('D13: a request without uid waits for the first live Pod of its name', async (t) => {
  const decision = decide({ request: requestOf({ podUid: null }), pod: { state: 'missing' }, podWatched: true })
  t.strictSame(told(decision), [
    lines({
      pod: `False/NotFound there is no live ${POD_TEXT} yet`,
      connector: UNSEEN,
      policy: UNSEEN,
      ready: `False/NotFound there is no live ${POD_TEXT} yet`,
    }),
  ])
  t.equal(decision.requeueAfter, 30_000)
})

await test('D13: the first live Pod is recorded, and no successor takes its place', async (t) => {
  const status = written(decide({ request: requestOf({ podUid: null }) }))
  t.equal(status?.contextUID, 'pod-1')
  const request = requestOf({ podUid: null, ...(status === undefined ? {} : { status }) })
  t.strictSame(types(decide({ request, pod: { state: 'replaced', uid: 'pod-2' } })), ['write-status'])
  t.match(linesOf(written(decide({ request, pod: { state: 'replaced', uid: 'pod-2' } }))), { pod: /^False\/Replaced /, sync: /^True\/PermissionCleanUp / })
})

const MISMATCHES: Record<string, { facts: Partial<RequestFacts>; why: string }> = {
  'another ServiceAccount': {
    facts: { pod: { state: 'live', pod: podOf({ serviceAccountName: 'other' }) } },
    why: `${POD_TEXT} runs as ServiceAccount "other"; the request is for ServiceAccount "cicd/builder"`,
  },
  'a user as subject': {
    facts: { request: requestOf({ spec: { subject: { kind: 'User', name: 'builder', namespace: 'cicd' } } }) },
    why: `${POD_TEXT} runs as ServiceAccount "builder"; the request is for User "cicd/builder"`,
  },
  'a ServiceAccount of another namespace': {
    facts: { request: requestOf({ spec: { subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'other' } } }) },
    why: `${POD_TEXT} runs as ServiceAccount "builder"; the request is for ServiceAccount "other/builder"`,
  },
  'no volume that names the Connector': {
    facts: { pod: { state: 'live', pod: podOf({ connectors: 'connectors-shared/other' }) } },
    why: `${POD_TEXT} has no connectors-csi volume that names ${CONNECTOR_TEXT}`,
  },
}

for (const [name, { facts, why }] of Object.entries(MISMATCHES)) {
  await test(`D14, D21: ${name} is never granted anything`, async (t) => {
    t.strictSame(told(decide({ checks: checksOf([approved]), ...facts })), [
      lines({ pod: `False/NotFound ${why}`, connector: UNSEEN, policy: UNSEEN, ready: `False/NotFound ${why}` }),
    ])
  })
  await test(`D14, D21: ${name} ends a grant that should not be`, async (t) => {
    const request = { ...(facts.request ?? requestOf()), status: grantedStatus }
    t.strictSame(types(decide({ ...granted, ...facts, request })), ['delete-grants', 'notice', 'write-status'])
  })
}

await test('D20: a request is deleted when its Pod was not seen for a minute', async (t) => {
  const unseen: Partial<RequestFacts> = { pod: { state: 'missing' }, confirmed: false }
  t.equal(decide(unseen, NOW + 59_000).requeueAfter, 1_000)
  t.strictSame(decide(unseen, NOW + 60_000), {
    effects: [
      {
        type: 'notice',
        notice: { type: 'Warning', reason: 'PodNeverSeen', action: 'Delete', note: `${POD_TEXT} with uid pod-1 never came; the request is deleted` },
      },
      { type: 'delete-request' },
    ],
  })
})

await test('D20: another Pod of the name does not stand for the one that was never seen', async (t) => {
  t.strictSame(decide({ pod: { state: 'replaced', uid: 'pod-0' } }, NOW + 500), { effects: [], requeueAfter: 1_500 }, 'mostly its Pod comes an instant later')
  t.match(linesOf(written(decide({ pod: { state: 'replaced', uid: 'pod-0' } }, NOW + 2_000))), { pod: /^Unknown\/Pending .* is not there yet$/ })
  t.strictSame(types(decide({ pod: { state: 'replaced', uid: 'pod-0' } }, NOW + 61_000)), ['notice', 'delete-request'])
})

await test('D20: a request without uid is not deleted', async (t) => {
  t.strictSame(types(decide({ request: requestOf({ podUid: null }), pod: { state: 'missing' } }, NOW + 3_600_000)), ['write-status'])
})

await test('D20: a Pod that finished before it was seen ends its request', async (t) => {
  const status = written(decide({ pod: { state: 'finished', pod: podOf({ phase: 'Succeeded' }) } }))
  t.equal(status?.contextUID, 'pod-1')
  t.equal(linesOf(status).sync, `True/PermissionCleanUp nothing was granted: ${POD_TEXT} has finished (Succeeded)`)
})

await test('a live Pod that no watch tells about is asked for every 4 s', async (t) => {
  t.strictSame(decide({ ...granted, podWatched: false }), { effects: [], requeueAfter: 4_000 })
})

await test('objects say nothing for a check that became known only now, or that does not mean them', async (t) => {
  const edited = policyOf('ask', policySpecOf([{ name: 'approval', spec: { selector: { objectRef: { ...APPROVAL_TASKS, name: 'security' } } } }]))
  const security = { name: 'approval', ...APPROVAL_TASKS, objectName: 'security' }
  const late = snapshotOf({ policySpec: edited.spec, checks: [] })
  for (const facts of [{ policies: [edited] }, { request: waitingFor(late) }, { request: waitingFor(snapshotOf({ ...late, checks: [security] })) }]) {
    const decision = decide({ ...facts, checks: checksOf([approved]) })
    t.equal(linesOf(written(decision)).check, 'Unknown/Pending there is no ApprovalTask cicd/security yet')
    t.strictSame(written(decision)?.policies?.[0]?.matchedChecks, [])
  }
})

await test('what was matched for a Connector that was replaced is forgotten, and the successor matched anew', async (t) => {
  const facts: Partial<RequestFacts> = {
    request: waitingFor(passedSnapshot),
    connector: connectorOf({ uid: 'connector-2' }),
    policies: [policyOf('new')],
    checks: checksOf([approved]),
  }
  t.strictSame(decide({ ...facts, confirmed: false }).effects, [{ type: 'confirm' }])
  const forgotten = statusOf({ policy: UNSEEN })
  t.strictSame(decide(facts).effects, [{ type: 'write-status', status: forgotten }])
  const status = written(decide({ ...facts, request: requestOf({ status: forgotten }) }))
  t.equal(status?.connectorUID, 'connector-2')
  t.strictSame(status?.policies, [snapshotOf({ name: 'new' })])
})
