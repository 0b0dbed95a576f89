import { test } from 'tap'
import { CodedError } from '../../src/errors.ts'
import { CONFIG_MAPS, PODS } from '../../src/kube/resources.ts'
import { kubeContract, take, WIDGETS } from '../support/kube-contract.ts'
import { memoryKube } from '../support/memory-kube.ts'

await test('memory-kube keeps the contract of the ports', async (t) => {
  const kube = memoryKube()
  kube.serve(WIDGETS)
  let namespaces = 0
  await kubeContract(t, {
    kube,
    namespace: async () => {
      namespaces += 1
      return `contract-${namespaces}`
    },
    expiredVersion: async () => {
      const { metadata } = await kube.create(CONFIG_MAPS, { metadata: { name: `old-${namespaces}`, namespace: 'forgotten' } })
      await kube.create(CONFIG_MAPS, { metadata: { name: `older-${namespaces}`, namespace: 'forgotten' } })
      kube.compact()
      return metadata.resourceVersion ?? ''
    },
  })
})

await test('faults hit the calls they name, before or after the effect', async (t) => {
  const kube = memoryKube()
  const lost = new CodedError('KUBE_UNAVAILABLE', 'the answer is lost')
  kube.fail('create', CONFIG_MAPS, lost, { after: true })
  await t.rejects(kube.create(CONFIG_MAPS, { metadata: { name: 'a', namespace: 'x' } }), lost)
  t.match(await kube.get(CONFIG_MAPS, 'x', 'a'), { metadata: { name: 'a' } }, 'it took effect')
  kube.fail('get', undefined, lost, { times: 2 })
  await t.rejects(kube.get(PODS, 'x', 'a'), lost)
  await t.rejects(kube.get(PODS, 'x', 'a'), lost)
  t.equal(await kube.get(PODS, 'x', 'a'), undefined)
})

await test('calls are recorded, held calls wait, put of another uid is a successor', async (t) => {
  const kube = memoryKube()
  const release = kube.hold('get', PODS)
  const held = kube.get(PODS, 'x', 'a')
  kube.put(PODS, { metadata: { name: 'a', namespace: 'x', uid: 'one' }, status: { phase: 'Running' } })
  const { resourceVersion } = await kube.list(PODS)
  release()
  t.match(await held, { metadata: { uid: 'one' }, status: { phase: 'Running' } })
  kube.put(PODS, { metadata: { name: 'a', namespace: 'x', uid: 'two' } })
  const events = await take(kube, PODS, { resourceVersion, timeoutSeconds: 60 }, 2)
  t.match(events, [
    { type: 'DELETED', object: { metadata: { uid: 'one' } } },
    { type: 'ADDED', object: { metadata: { uid: 'two' } } },
  ])
  t.same(
    kube.calls.map(({ verb, resource, name }) => [verb, resource, name]),
    [
      ['get', 'pods', 'a'],
      ['list', 'pods', undefined],
      ['watch', 'pods', undefined],
    ],
  )
  t.same(kube.writes(), [])
})

await test('a permission is refused until the test gives an answer', async (t) => {
  const kube = memoryKube()
  const identity = { user: 'someone', groups: [] }
  const question = { group: '', resource: 'pods', verb: 'get' }
  t.equal(await kube.allows(identity, question), false)
  kube.allowIf(({ user }, { verb }) => user === 'someone' && verb === 'get')
  t.equal(await kube.allows(identity, question), true)
})
