import { appendFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { CONDITION, REASON, type AccessRequest } from '../../src/api/access-request.ts'
import { SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { buildGrant, grantName } from '../../src/core/grant.ts'
import { buildRequest } from '../../src/core/request-identity.ts'
import { ACCESS_REQUESTS, EVENTS, ROLES } from '../../src/kube/resources.ts'
import { untilTrue } from './eventually.ts'
import { podManifest } from './gated-world.ts'
import { judgeGrants, type GrantJudge, type Verdict } from './grant-judge.ts'
import { memoryKube, type MemoryKube } from './memory-kube.ts'
import { temporaryFolder } from './temporary-folder.ts'

const SHARED = 'shared'
const WORK = 'work'
const CONNECTOR = 'harbor'
const MINUTE_MS = 60_000

const CLEANED_UP = {
  type: CONDITION.accessPermissionSync,
  status: 'False' as const,
  reason: REASON.permissionCleanUp,
  message: 'the Pod ended',
  lastTransitionTime: '2026-01-01T00:00:00Z',
}

/** What happened, made up. */
interface History {
  kube: MemoryKube
  judge: GrantJudge
  /** A Pod comes, and its request, which is final already. */
  pod: (name: string, uid: string, run?: string) => AccessRequest
  /** The audit log says that the controller made the Role and the RoleBinding. */
  made: (request: AccessRequest, at?: number) => Promise<void>
  /** Its Role stands for a moment. */
  stood: (request: AccessRequest) => Promise<void>
  told: (request: AccessRequest, note?: string) => void
}

const history = async (t: Pick<Test, 'teardown'>): Promise<History> => {
  const kube = memoryKube()
  const auditLog = join(await temporaryFolder(t), 'audit.log')
  await writeFile(auditLog, '')
  const judge = judgeGrants(kube, { namespace: SHARED, auditLog, lookMs: 5 })
  const looks = (): number => kube.calls.filter(({ verb, resource }) => verb === 'list' && resource === ROLES.plural).length
  return {
    kube,
    judge,
    pod: (name, uid, run = name) => {
      judge.admitted(podManifest(WORK, name, [CONNECTOR], { run, metadata: { uid } }))
      const identity = { connector: { namespace: SHARED, name: CONNECTOR }, pod: { namespace: WORK, name, uid }, serviceAccount: 'builder' }
      const request = buildRequest(identity, 'somebody')
      return kube.put(ACCESS_REQUESTS, { ...request, metadata: { ...request.metadata, uid: `request-of-${uid}` }, status: { conditions: [CLEANED_UP] } })
    },
    made: async (request, at = Date.now()) => {
      for (const resource of ['roles', 'rolebindings']) {
        const line = {
          stage: 'ResponseComplete',
          verb: 'create',
          user: { username: serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller) },
          objectRef: { resource, namespace: SHARED, name: grantName(request, CONNECTOR) },
          responseStatus: { code: 201 },
          requestReceivedTimestamp: new Date(at).toISOString(),
        }
        await appendFile(auditLog, `${JSON.stringify(line)}\n`)
      }
    },
    stood: async (request) => {
      const { role } = buildGrant(request, CONNECTOR, [], request.spec.context.objectRef.uid ?? '')
      kube.put(ROLES, role)
      const before = looks()
      // The look that has begun may have listed before the Role came; the one after it is over when a third one begins.
      await untilTrue('it was looked at', () => looks() > before + 2)
      kube.drop(ROLES, SHARED, role.metadata.name)
    },
    told: (request, note = 'granted') => {
      const { name, uid = '' } = request.metadata
      kube.put(EVENTS, {
        apiVersion: EVENTS.apiVersion,
        kind: EVENTS.kind,
        metadata: { name: `${name}.${note}`, namespace: SHARED },
        eventTime: '2026-01-01T00:00:00.000000Z',
        reportingController: 'access-gate',
        reportingInstance: 'test',
        regarding: { apiVersion: ACCESS_REQUESTS.apiVersion, kind: ACCESS_REQUESTS.kind, namespace: SHARED, name, uid },
        type: 'Normal',
        reason: 'AccessGranted',
        action: 'Grant',
        note,
      })
    },
  }
}

const NOTHING_WRONG = { requests: 1, granted: 1, open: [], left: [], grantedTwice: [], unapproved: [], toldTwice: [], untold: [] }
const BUILD = { name: 'build', uid: 'pod-1' }

/** What happens, and what of the verdict is other than when all is well. */
const HISTORIES: Record<string, (made: History) => Promise<Partial<Verdict>>> = {
  'approved, granted, told: nothing is wrong': async ({ judge, pod, made, stood, told }) => {
    const request = pod(BUILD.name, BUILD.uid)
    judge.approving('build')
    await made(request)
    await stood(request)
    told(request)
    return {}
  },
  'nothing is granted at all': async ({ judge, pod }) => {
    pod(BUILD.name, BUILD.uid)
    judge.approving('build')
    return { granted: 0 }
  },
  'granted twice': async ({ judge, pod, made, told }) => {
    const request = pod(BUILD.name, BUILD.uid)
    judge.approving('build')
    await made(request)
    await made(request)
    told(request)
    const name = grantName(request, CONNECTOR)
    return { grantedTwice: [`roles/${name}`, `rolebindings/${name}`] }
  },
  'granted without an approval, by the audit log': async ({ pod, made, told }) => {
    const request = pod(BUILD.name, BUILD.uid)
    await made(request)
    told(request)
    return { unapproved: [grantName(request, CONNECTOR)] }
  },
  'granted without an approval, as it was seen': async ({ pod, stood }) => {
    const request = pod(BUILD.name, BUILD.uid)
    await stood(request)
    return { granted: 0, unapproved: [grantName(request, CONNECTOR)] }
  },
  'granted before its approval': async ({ judge, pod, made, told }) => {
    const request = pod(BUILD.name, BUILD.uid)
    judge.approving('build')
    await made(request, Date.now() - MINUTE_MS)
    told(request)
    return { unapproved: [grantName(request, CONNECTOR)] }
  },
  'a successor of the same name is granted with the approval of its predecessor, by the audit log': async ({ judge, pod, made, told }) => {
    const first = pod(BUILD.name, BUILD.uid, 'first-run')
    judge.approving('first-run')
    await made(first)
    told(first)
    const second = pod(BUILD.name, 'pod-2', 'second-run')
    await made(second)
    told(second)
    return { requests: 2, granted: 2, unapproved: [grantName(second, CONNECTOR)] }
  },
  'a successor of the same name is granted with the approval of its predecessor, as it was seen': async ({ judge, pod, stood }) => {
    pod(BUILD.name, BUILD.uid, 'first-run')
    judge.approving('first-run')
    const second = pod(BUILD.name, 'pod-2', 'second-run')
    await stood(second)
    return { requests: 2, granted: 0, unapproved: [grantName(second, CONNECTOR)] }
  },
  'a successor of the same name and run is covered by the approval of that run': async ({ judge, pod, made, told }) => {
    judge.approving('run')
    const both = [pod(BUILD.name, BUILD.uid, 'run'), pod(BUILD.name, 'pod-2', 'run')]
    for (const request of both) {
      await made(request)
      told(request)
    }
    return { requests: 2, granted: 2 }
  },
  'a request that was deleted and remembered is judged': async ({ kube, judge, pod, made, told }) => {
    const request = pod(BUILD.name, BUILD.uid)
    judge.approving('build')
    await made(request)
    told(request)
    judge.remember([request])
    kube.drop(ACCESS_REQUESTS, SHARED, request.metadata.name)
    return {}
  },
  'a grant of a request that nobody knows': async ({ kube, judge, pod, made }) => {
    const request = pod(BUILD.name, BUILD.uid)
    judge.approving('build')
    await made(request)
    kube.drop(ACCESS_REQUESTS, SHARED, request.metadata.name)
    return { requests: 0, unapproved: [grantName(request, CONNECTOR)], untold: [''] }
  },
  'granted, and nobody is told': async ({ judge, pod, made }) => {
    const request = pod(BUILD.name, BUILD.uid)
    judge.approving('build')
    await made(request)
    return { untold: ['request-of-pod-1'] }
  },
  'granted so long ago that the Event is forgotten': async ({ pod, made }) => {
    const request = pod(BUILD.name, BUILD.uid)
    await made(request, Date.now() - 120 * MINUTE_MS)
    return { unapproved: [grantName(request, CONNECTOR)] }
  },
  'told twice, in other words': async ({ judge, pod, made, told }) => {
    const request = pod(BUILD.name, BUILD.uid)
    judge.approving('build')
    await made(request)
    told(request)
    told(request, 'again')
    return { toldTwice: ['request-of-pod-1'] }
  },
  'left, and not final': async ({ kube, judge, pod, made, told }) => {
    const { status: _status, ...request } = pod(BUILD.name, BUILD.uid)
    kube.put(ACCESS_REQUESTS, request)
    judge.approving('build')
    await made(request)
    told(request)
    const { role } = buildGrant(request, CONNECTOR, [], BUILD.uid)
    kube.put(ROLES, role)
    return { open: [request.metadata.name], left: [role.metadata.name] }
  },
}

for (const [title, happen] of Object.entries(HISTORIES))
  await test(`judge: ${title}`, async (t) => {
    const made = await history(t)
    const expected = await happen(made)
    const { looks, ...verdict } = await made.judge.verdict()
    t.strictSame(verdict, { ...NOTHING_WRONG, ...expected })
    t.ok(looks > 0)
  })
