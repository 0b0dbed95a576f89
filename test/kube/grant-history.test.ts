/** That the judge of fault runs finds what it is there to find. */
import { test, type Test } from 'tap'
import type { AccessRequest, AccessRequestStatus } from '../../src/api/access-request.ts'
import { LABEL } from '../../src/api/names.ts'
import type { Role } from '../../src/api/rbac.ts'
import { ACCESS_REQUESTS, ROLES } from '../../src/kube/resources.ts'
import { watchGrantHistory, type GrantVerdict } from '../support/grant-history.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { policySpecOf, requestOf } from '../support/request-facts.ts'

const PASSED: AccessRequestStatus = {
  conditions: [{ type: 'AccessCheckReady', status: 'True', reason: 'Passed', message: '', lastTransitionTime: '2026-01-02T03:04:05Z' }],
  policies: [
    {
      name: 'ask',
      policySpec: policySpecOf(),
      matchedChecks: [{ name: 'approval', ref: { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', namespace: 'cicd', name: 'deploy', uid: 'task-1' }, condition: { type: 'Passed', status: 'True', reason: 'Passed', message: '', lastTransitionTime: '2026-01-02T03:04:05Z' } }],
    },
  ],
}

interface Scene {
  kube: MemoryKube
  request: () => AccessRequest
  say: (status: AccessRequestStatus) => void
  role: (name: string) => Role
}

const judged = async (t: Test, play: (scene: Scene) => Promise<void> | void): Promise<GrantVerdict> => {
  const kube = memoryKube()
  kube.put(ACCESS_REQUESTS, requestOf())
  const request = (): AccessRequest => {
    const [found] = kube.all(ACCESS_REQUESTS)
    if (found === undefined) throw new Error('there is no request')
    return found
  }
  const namespace = request().metadata.namespace ?? ''
  const history = await watchGrantHistory(kube, namespace)
  await play({
    kube,
    request,
    say: (status) => void kube.put(ACCESS_REQUESTS, { ...request(), status }),
    role: (name) => {
      const { metadata } = request()
      const ownerReferences = [{ apiVersion: 'connectors.alauda.io/v1alpha1', kind: 'AccessRequest', name: metadata.name, uid: metadata.uid ?? '' }]
      return kube.put(ROLES, { metadata: { name, namespace, labels: { [LABEL.accessRequest]: 'x' }, ownerReferences }, rules: [] })
    },
  })
  const verdict = await history.end()
  t.equal(verdict.versions > 0, true)
  return verdict
}

const PLAYS: Record<string, { play: (scene: Scene) => Promise<void> | void; found: { unchecked: number; twice: number; left: number } }> = {
  'nothing is wrong': {
    play: async ({ kube, say, role }) => {
      say(PASSED)
      const { metadata } = role('grant')
      await kube.remove(ROLES, metadata.namespace, 'grant')
      say({})
    },
    found: { unchecked: 0, twice: 0, left: 0 },
  },
  'a Role comes before the pass': {
    play: async ({ kube, say, role }) => {
      const { metadata } = role('grant')
      say(PASSED)
      await kube.remove(ROLES, metadata.namespace, 'grant')
    },
    found: { unchecked: 1, twice: 0, left: 0 },
  },
  'the status takes the pass back before the Role is gone': {
    play: async ({ kube, say, role }) => {
      say(PASSED)
      const { metadata } = role('grant')
      say({})
      await kube.remove(ROLES, metadata.namespace, 'grant')
    },
    found: { unchecked: 1, twice: 0, left: 0 },
  },
  'a Role is left': {
    play: ({ say, role }) => {
      say(PASSED)
      role('grant')
    },
    found: { unchecked: 0, twice: 0, left: 1 },
  },
  'a Role comes twice': {
    play: async ({ kube, say, role }) => {
      say(PASSED)
      for (let time = 0; time < 2; time++) await kube.remove(ROLES, role('grant').metadata.namespace, 'grant')
    },
    found: { unchecked: 0, twice: 1, left: 0 },
  },
}

for (const [sentence, { play, found }] of Object.entries(PLAYS))
  await test(`what the history of grants finds: ${sentence}`, async (t) => {
    const { unchecked, twice, left } = await judged(t, play)
    t.strictSame({ unchecked: unchecked.length, twice: twice.length, left: left.length }, found)
  })
