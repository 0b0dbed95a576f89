/**
 * Any order of events, delays, crashes and failures: a Role is never there without the recorded pass, what is final stays so, and
 * when it is quiet again everything is as the world says it must be.
 */
import fc from 'fast-check'
import { test } from 'tap'
import { isFinal } from '../../src/core/conditions.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { controllerBench, gatedPod, putScene, TASKS, type Bench, type Replica } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import type { Verb } from '../support/memory-kube.ts'
import { connectorOf, grantOf, inlineCheck, linesOf, podOf, policyOf, policySpecOf, taskOf } from '../support/request-facts.ts'
import { flagsOf } from '../support/request-world.ts'

interface Play {
  readonly bench: Bench
  /** The replicas that live, the oldest first. */
  readonly replicas: Replica[]
  readonly blinds: (() => void)[]
  started: number
}
type Act = (play: Play) => void | Promise<void>

const drop = ({ kube }: Bench, resource: Resource, namespace: string, name: string): void => {
  if (kube.all(resource).some(({ metadata }) => metadata.name === name && metadata.namespace === namespace)) kube.drop(resource, namespace, name)
}
const EXPRESSED = { selector: { objectRef: { apiVersion: TASKS.apiVersion, kind: TASKS.kind, name: 'deploy' } }, state: { cel: "object.status.state == 'approved' ? 'passed' : object.status.state" } }
const NAME = grantOf().role.metadata.name

const WORLD: Record<string, Act> = {
  'the Pod comes': ({ bench }) => void bench.kube.put(PODS, gatedPod()),
  'the Pod is there without its label': ({ bench }) => void bench.kube.put(PODS, podOf()),
  'the Pod finishes': ({ bench }) => void bench.kube.put(PODS, gatedPod({ phase: 'Succeeded' })),
  'the Pod goes': ({ bench }) => drop(bench, PODS, 'cicd', 'build-pod'),
  'a successor of the Pod comes': ({ bench }) => void bench.kube.put(PODS, gatedPod({ metadata: { uid: 'pod-2' } })),
  'the approval is asked for': ({ bench }) => void bench.kube.put(TASKS, taskOf('deploy', 'pending')),
  'it is approved': ({ bench }) => void bench.kube.put(TASKS, taskOf('deploy', 'approved')),
  'it is rejected': ({ bench }) => void bench.kube.put(TASKS, taskOf('deploy', 'rejected')),
  'it is deleted': ({ bench }) => drop(bench, TASKS, 'cicd', 'deploy'),
  'the Connector comes': ({ bench }) => void bench.kube.put(CONNECTORS, connectorOf()),
  'another Connector of the name comes': ({ bench }) => void bench.kube.put(CONNECTORS, connectorOf({ uid: 'connector-2' })),
  'the Connector goes': ({ bench }) => drop(bench, CONNECTORS, 'connectors-shared', 'prod-harbor'),
  'approval is turned off': ({ bench }) => void bench.kube.put(CONFIG_MAPS, flagsOf('false')),
  'approval is turned on': ({ bench }) => void bench.kube.put(CONFIG_MAPS, flagsOf('true')),
  'a second policy comes, with an expression': ({ bench }) => void bench.kube.put(ACCESS_POLICIES, policyOf('second', policySpecOf([inlineCheck('read', { spec: EXPRESSED })]))),
  'the Role is deleted by hand': ({ bench }) => drop(bench, ROLES, 'connectors-shared', NAME),
  'the RoleBinding is deleted by hand': ({ bench }) => drop(bench, ROLE_BINDINGS, 'connectors-shared', NAME),
  'somebody deletes the request': async ({ bench }) => void (await bench.kube.remove(ACCESS_REQUESTS, 'connectors-shared', 'prod-harbor-build-pod')),
  'somebody labels the request': ({ bench }) => {
    const request = bench.request()
    if (request !== undefined) bench.kube.put(ACCESS_REQUESTS, { ...request, metadata: { ...request.metadata, labels: { touched: String(bench.kube.calls.length) } } })
  },
}
const FAULTS: readonly [Verb, Resource][] = [
  ['get', PODS],
  ['get', ACCESS_REQUESTS],
  ['list', TASKS],
  ['replaceStatus', ACCESS_REQUESTS],
  ['create', ROLES],
  ['create', ROLE_BINDINGS],
  ['remove', ROLES],
  ['remove', ROLE_BINDINGS],
  ['mergePatch', ACCESS_REQUESTS],
]
const startOne: Act = async (play) => {
  play.started += 1
  play.replicas.push(await play.bench.start(`replica-${play.started}`))
}
const die = async ({ replicas }: Play): Promise<void> => {
  const replica = replicas.shift()
  replica?.process.die()
  await replica?.controller.stop()
}
const act = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...Object.keys(WORLD)).map((name) => ({ name, run: WORLD[name] })) },
  { weight: 3, arbitrary: fc.constantFrom(10, 1_000, 5_000, 20_000).map((ms) => ({ name: `${ms} ms pass`, run: ({ bench }: Play) => bench.time.advance(ms) })) },
  {
    weight: 2,
    arbitrary: fc.record({ fault: fc.constantFrom(...FAULTS), after: fc.boolean() }).map(({ fault: [verb, resource], after }) => ({
      name: `the next ${verb} of ${resource.plural} fails${after ? ' after it took effect' : ''}`,
      run: ({ bench }: Play) => bench.kube.fail(verb, resource, new KubeError('KUBE_UNAVAILABLE', 'no answer'), { after }),
    })),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Resource>(ACCESS_REQUESTS, PODS, TASKS, CONNECTORS, ROLES, CONFIG_MAPS, ACCESS_POLICIES).map((resource) => ({
      name: `the leader hears nothing more of ${resource.plural}`,
      run: ({ replicas, blinds }: Play) => {
        const [leader] = replicas
        if (leader !== undefined) blinds.push(leader.process.blind(resource))
      },
    })),
  },
  { weight: 1, arbitrary: fc.constant({ name: 'it hears everything again', run: ({ blinds }: Play) => blinds.splice(0).forEach((see) => see()) }) },
  { weight: 1, arbitrary: fc.constant({ name: 'another replica starts', run: startOne }) },
  { weight: 1, arbitrary: fc.nat(4).map((writes) => ({ name: `the leader dies ${writes} writes from now`, run: ({ replicas }: Play) => replicas[0]?.process.dieAfter(writes) })) },
  { weight: 1, arbitrary: fc.constant({ name: 'the oldest replica dies', run: die }) },
  { weight: 1, arbitrary: fc.constant({ name: 'the oldest replica stops in order', run: async ({ replicas }: Play): Promise<void> => await replicas.shift()?.controller.stop() }) },
)

await test('in whatever order things happen', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 3, maxLength: 14 }), fc.boolean(), async (acts, hasUid) => {
      const bench = controllerBench(t)
      putScene(bench, { without: ['task'], request: hasUid ? {} : { podUid: null } })
      const play: Play = { bench, replicas: [], blinds: [], started: 0 }
      await startOne(play)
      let wasFinal = false
      const look = (): void => {
        const request = bench.request()
        if (request === undefined) return
        if (wasFinal && !isFinal(request.status)) throw new Error('what was final is no longer')
        wasFinal = isFinal(request.status)
      }
      for (const { run } of acts) {
        await run?.(play)
        await settle()
        look()
      }
      for (const see of play.blinds.splice(0)) see()
      while (play.replicas.length > 0) await die(play)
      await startOne(play)
      await bench.time.advance(90_000)
      look()
      bench.newWrites()
      await bench.time.advance(30_000)
      const idle = bench.newWrites()
      const lines = linesOf(bench.request()?.status)
      const roles = bench.roles().length
      await play.replicas[0]?.controller.stop()

      if (bench.breaches.length > 0) throw new Error(`a Role without the recorded pass: ${bench.breaches.join('; ')}`)
      if (idle.length > 0) throw new Error(`it does not come to rest: ${idle.join(', ')}`)
      const request = bench.request()
      const pod = bench.kube.all(PODS)[0]
      const isLive = pod !== undefined && pod.metadata.uid === (request?.spec.context.objectRef.uid ?? request?.status?.contextUID) && pod.status?.phase === undefined
      const hasConnector = bench.kube.all(CONNECTORS).some(({ metadata }) => metadata.uid === request?.status?.connectorUID)
      const isOpen = request !== undefined && !wasFinal
      if (roles > 0 && !(isOpen && isLive && hasConnector)) throw new Error(`a grant without its ground: ${JSON.stringify(lines)}`)
      const task = bench.kube.all(TASKS)[0]
      const isOn = bench.kube.all(CONFIG_MAPS).some(({ data }) => data?.['enable-connectors-approval'] === 'true')
      // With approval off nothing is put back, also not the half of a grant.
      if (isOn && roles !== bench.bindings().length) throw new Error('half a grant')
      if (isOpen && isLive && hasConnector && isOn && Reflect.get(task?.status ?? {}, 'state') === 'approved' && roles === 0) throw new Error(`no grant, though nothing is missing: ${JSON.stringify(lines)}`)
    }),
    { numRuns: 40 },
  )
})
