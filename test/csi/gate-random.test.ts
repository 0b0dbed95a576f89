/** Whatever happens in whatever order: nothing is mounted without a yes, nothing is left without an OK, nothing is asked for twice. */
import fc from 'fast-check'
import { test } from 'tap'
import { CodedError } from '../../src/errors.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS } from '../../src/kube/resources.ts'
import { csiWorld, targetOf, type CsiWorld } from '../support/csi-world.ts'
import { earlierRequest, HARBOR, MOUNT_POD, requestFor, STAGE, type Stage } from '../support/mount-facts.ts'

const AWAY = new CodedError('KUBE_UNAVAILABLE', 'connection refused')
const NAME = requestFor(HARBOR).metadata.name

type Step =
  | { do: 'wait'; ms: number }
  | { do: 'permit'; what: 'get' | 'proxy' | 'podPath'; answer: boolean }
  | { do: 'stage'; stage: Stage }
  | { do: 'predecessor'; stage: 'synced' | 'ended' }
  | { do: 'flags'; to: 'on' | 'off' | 'gone' }
  | { do: 'fault'; verb: 'get' | 'list' | 'allows' | 'create'; times: number }
  | { do: 'disk'; method: 'write' | 'put' | 'remove' }
  | { do: 'delete request' | 'delete Pod' | 'delete Connector' | 'start container' | 'publish' | 'cancel' | 'unpublish' | 'restart' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 60, 700, 2_100, 16_000, 120_000) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('permit' as const), what: fc.constantFrom('get' as const, 'proxy' as const, 'podPath' as const), answer: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('stage' as const), stage: fc.constantFrom<Stage>('waiting', 'passed', 'synced', 'rejected', 'no policy', 'ended') }) },
  fc.record({ do: fc.constant('predecessor' as const), stage: fc.constantFrom('synced' as const, 'ended' as const) }),
  fc.record({ do: fc.constant('flags' as const), to: fc.constantFrom('on' as const, 'off' as const, 'gone' as const) }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant('fault' as const), verb: fc.constantFrom('get' as const, 'list' as const, 'allows' as const, 'create' as const), times: fc.integer({ min: 1, max: 8 }) }) },
  fc.record({ do: fc.constant('disk' as const), method: fc.constantFrom('write' as const, 'put' as const, 'remove' as const) }),
  fc.record({ do: fc.constantFrom('delete Pod' as const, 'delete Connector' as const) }),
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom('delete request' as const, 'start container' as const, 'publish' as const, 'publish' as const, 'cancel' as const, 'unpublish' as const, 'restart' as const),
    }),
  },
)

/** What was said last to each question, and what is known of the story, so far. */
interface Judge {
  answers: Map<string, boolean>
  wasDeleted: boolean
  createdAfterDeletion: boolean
  flags: 'on' | 'off' | 'gone'
  diskFailed: boolean
}

const hasToken = (world: CsiWorld): boolean => world.volumes.targets.get(targetOf(MOUNT_POD))?.has('context.token') === true

/** @returns what is wrong; undefined when nothing is */
const play = async (steps: readonly Step[]): Promise<string | undefined> => {
  const ends: (() => Promise<void>)[] = []
  const t = { teardown: (end: () => Promise<void>) => void ends.push(end) }
  let world = await csiWorld(t)
  const { kube, volumes, time } = world
  const allowed = { get: true, proxy: false, podPath: false }
  const judge: Judge = { answers: new Map(), wasDeleted: false, createdAfterDeletion: false, flags: 'on', diskFailed: false }
  kube.allowIf((_identity, { verb, subresource }) => {
    const what = verb === 'get' ? 'get' : subresource === 'proxy' ? 'proxy' : 'podPath'
    judge.answers.set(what, allowed[what])
    return allowed[what]
  })
  const drop = (resource: Resource, namespace: string, name: string): void => {
    if (kube.all(resource).some(({ metadata }) => metadata.namespace === namespace && metadata.name === name)) kube.drop(resource, namespace, name)
  }
  let mount: ReturnType<CsiWorld['publish']> | undefined
  let seenCreations = 0
  let seenMounts = 0
  let wrong: string | undefined

  const check = async (): Promise<void> => {
    const creations = kube.calls.filter(({ verb, resource }) => verb === 'create' && resource === 'accessrequests').length
    if (judge.wasDeleted && creations > seenCreations) wrong ??= 'a request was made after one was deleted'
    seenCreations = creations
    if (mount?.outcome === undefined) return
    // A volume in use, or one whose Pod cannot be read, is left as it is: that is no mount.
    const mounts = await world.metric('access_gate_publishes_total', { outcome: 'mounted' })
    if (mount.outcome === 'OK' && mounts > seenMounts) {
      const said = (what: string): boolean => judge.answers.get(what) === true
      const isPermitted = said('get') && (judge.flags === 'off' || said('proxy') || said('podPath'))
      if (!isPermitted) wrong ??= `mounted without a yes: ${JSON.stringify([...judge.answers])}`
    }
    // With a record it was mounted before: kubelet may start a container on it at any moment.
    if (mount.outcome !== 'OK' && volumes.targets.size > 0 && volumes.byVolume.size === 0 && !judge.diskFailed) wrong ??= `left behind after ${mount.outcome}: ${JSON.stringify([...volumes.targets.keys()])}`
    seenMounts = mounts
    mount = undefined
  }

  const act: { [K in Step['do']]: (step: Extract<Step, { do: K }>) => unknown } = {
    'wait': () => undefined,
    'permit': ({ what, answer }) => {
      allowed[what] = answer
    },
    'stage': ({ stage }) => {
      // Only of a request that is there: the controller makes none.
      if (kube.all(ACCESS_REQUESTS).some(({ metadata }) => metadata.name === NAME)) world.request(stage)
    },
    'predecessor': ({ stage }) => kube.put(ACCESS_REQUESTS, earlierRequest(HARBOR, STAGE[stage])),
    'flags': ({ to }) => {
      judge.flags = to
      if (to === 'gone') drop(CONFIG_MAPS, 'connectors-system', 'connectors-config')
      else world.flags(to === 'on' ? 'true' : 'false')
    },
    'fault': ({ verb, times }) => kube.fail(verb, undefined, AWAY, { times }),
    'disk': ({ method }) => {
      judge.diskFailed = true
      volumes.fail(method, new Error('the disk is full'))
    },
    'delete request': () => {
      const isThere = kube.all(ACCESS_REQUESTS).some(({ metadata }) => metadata.name === NAME)
      // What nobody saw may be made once more.
      judge.wasDeleted ||= isThere && volumes.askedOf.get(MOUNT_POD.uid)?.has('shared/harbor') === true
      drop(ACCESS_REQUESTS, 'shared', NAME)
    },
    'delete Pod': () => drop(PODS, 'cicd', 'build-1'),
    'delete Connector': () => drop(CONNECTORS, 'shared', 'harbor'),
    'start container': () => {
      if (!hasToken(world) || mount !== undefined) return
      world.pod(MOUNT_POD, { status: { containerStatuses: [{ containerID: 'containerd://1' }] } })
    },
    'publish': () => {
      mount ??= world.publish()
    },
    'cancel': () => mount?.cancel(),
    'unpublish': async () => {
      const unmount = world.unpublish()
      await time.advance(3_000)
      const outcome = await unmount
      if (outcome === 'OK' && volumes.targets.size > 0 && mount === undefined) wrong ??= 'left behind after an unmount'
    },
    'restart': async () => {
      mount?.cancel()
      await time.advance(0)
      await check()
      seenMounts = 0
      world = await csiWorld(t, { kube, volumes, time })
    },
  }
  const perform = <K extends Step['do']>(one: Extract<Step, { do: K }>): unknown => (act[one.do] as (given: typeof one) => unknown)(one)

  for (const one of steps) {
    await perform(one)
    await time.advance(one.do === 'wait' ? one.ms : 0)
    await check()
  }
  mount?.cancel()
  await time.advance(5_000)
  await check()
  for (const end of ends.toReversed()) await end()
  return wrong
}

await test('whatever happens in whatever order', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      const wrong = await play([{ do: 'publish' }, ...steps])
      if (wrong !== undefined) throw new Error(wrong)
    }),
    { numRuns: 150 },
  )
  t.pass()
})
