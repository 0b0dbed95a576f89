import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { Pod } from '../../src/api/pod.ts'
import { boundUid, podFact, podMismatch, type PodFact } from '../../src/core/pod-context.ts'
import { podOf, requestOf, statusOf } from '../support/request-facts.ts'

const bySpec = requestOf()
const byStatus = requestOf({ podUid: null, status: statusOf({}) })
const unbound = requestOf({ podUid: null })
const succeeded = podOf({ phase: 'Succeeded' })
const failed = podOf({ phase: 'Failed' })
const running = podOf({ phase: 'Running' })
const leaving = podOf({ metadata: { deletionTimestamp: 'now' } })
const successor = podOf({ metadata: { uid: 'pod-2' } })
const finishedSuccessor = podOf({ metadata: { uid: 'pod-2' }, phase: 'Succeeded' })

const FACTS: Record<string, { request: AccessRequest; pod: Pod | undefined; is: PodFact }> = {
  'no Pod is missing': { request: bySpec, pod: undefined, is: { state: 'missing' } },
  'the Pod of the uid is live': { request: bySpec, pod: running, is: { state: 'live', pod: running } },
  'a Pod without a phase is live': { request: bySpec, pod: podOf(), is: { state: 'live', pod: podOf() } },
  'a terminating Pod is live': { request: bySpec, pod: leaving, is: { state: 'live', pod: leaving } },
  'one that succeeded is finished': { request: bySpec, pod: succeeded, is: { state: 'finished', pod: succeeded } },
  'one that failed is finished': { request: bySpec, pod: failed, is: { state: 'finished', pod: failed } },
  'another uid is a successor': { request: bySpec, pod: successor, is: { state: 'replaced', uid: 'pod-2' } },
  'a finished Pod of another uid is a successor, not the end': { request: bySpec, pod: finishedSuccessor, is: { state: 'replaced', uid: 'pod-2' } },
  'the uid on record binds as that of the spec does': { request: byStatus, pod: successor, is: { state: 'replaced', uid: 'pod-2' } },
  'the uid of the spec wins over that on record': {
    request: requestOf({ podUid: 'pod-2', status: statusOf({}) }),
    pod: podOf(),
    is: { state: 'replaced', uid: 'pod-1' },
  },
  'without any uid the first live Pod is meant': { request: unbound, pod: successor, is: { state: 'live', pod: successor } },
  'without any uid a finished Pod is none': { request: unbound, pod: succeeded, is: { state: 'missing' } },
}
for (const [name, { request, pod, is }] of Object.entries(FACTS)) {
  await test(name, async (t) => {
    t.strictSame(podFact(request, pod), is)
  })
}

await test('a request is bound by its spec, else by what is on record', async (t) => {
  t.strictSame([bySpec, byStatus, unbound].map(boundUid), ['pod-1', 'pod-1', undefined])
})

const subject = (over: object): AccessRequest => requestOf({ spec: { subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd', ...over } } })
const volume = 'Pod cicd/build-pod has no connectors-csi volume that names Connector connectors-shared/prod-harbor'
const MISMATCHES: Record<string, { request?: AccessRequest; pod?: Pod; is: string | undefined }> = {
  'a Pod of that account with that volume fits': { is: undefined },
  'one of several Connectors is enough': { pod: podOf({ connectors: 'mine,connectors-shared/prod-harbor' }), is: undefined },
  'another account does not fit': {
    pod: podOf({ serviceAccountName: 'other' }),
    is: 'Pod cicd/build-pod runs as ServiceAccount "other"; the request is for ServiceAccount "cicd/builder"',
  },
  'an account of another namespace does not fit': {
    request: subject({ namespace: 'other' }),
    is: 'Pod cicd/build-pod runs as ServiceAccount "builder"; the request is for ServiceAccount "other/builder"',
  },
  'an account without namespace does not fit': {
    request: subject({ namespace: undefined }),
    is: 'Pod cicd/build-pod runs as ServiceAccount "builder"; the request is for ServiceAccount "/builder"',
  },
  'a user does not fit': {
    request: subject({ kind: 'User' }),
    is: 'Pod cicd/build-pod runs as ServiceAccount "builder"; the request is for User "cicd/builder"',
  },
  'a group does not fit': {
    request: subject({ kind: 'Group' }),
    is: 'Pod cicd/build-pod runs as ServiceAccount "builder"; the request is for Group "cicd/builder"',
  },
  'a Pod without account runs as default': {
    request: subject({ name: 'default' }),
    pod: { ...podOf(), spec: { volumes: podOf().spec?.volumes ?? [] } },
    is: undefined,
  },
  'another Connector does not fit': { pod: podOf({ connectors: 'connectors-shared/other' }), is: volume },
  'a Connector of that name in the namespace of the Pod does not fit': { pod: podOf({ connectors: 'prod-harbor' }), is: volume },
  'a volume that is not well formed does not fit': { pod: podOf({ connectors: 'connectors-shared/prod-harbor,,' }), is: volume },
  'a Pod without volumes does not fit': { pod: { ...podOf(), spec: { serviceAccountName: 'builder' } }, is: volume },
  'a Pod without spec does not fit': { request: subject({ name: 'default' }), pod: { metadata: podOf().metadata }, is: volume },
}
for (const [name, { request = requestOf(), pod = podOf(), is }] of Object.entries(MISMATCHES)) {
  await test(`mismatch: ${name}`, async (t) => {
    t.equal(podMismatch(request, pod), is)
  })
}
