import { test } from 'tap'
import { clusterUntil, unlessAborted, whileStarting } from '../../../hack/sandbox/ending.ts'
import type { ClusterAccess } from '../../../hack/control-plane/cluster-access.ts'

const REASON = { message: 'ended by SIGINT' }
const end = (ending: AbortController): void => ending.abort(new Error(REASON.message))

/** Counts what it is asked, and answers each with what is given. */
const clusterOf = (answer: () => Promise<string>) => {
  const seen = { calls: 0 }
  const ask = async (): Promise<string> => {
    seen.calls++
    return answer()
  }
  const cluster: ClusterAccess = {
    call: async () => ({ status: 200, text: await ask() }),
    kubectl: async () => ({ stdout: await ask(), stderr: '', code: 0 }),
    serviceAccountToken: ask,
    kubeconfigFor: ask,
    namespace: ask,
  }
  return { cluster, seen }
}

const WAYS: Record<string, (cluster: ClusterAccess) => Promise<unknown>> = {
  call: (cluster) => cluster.call('GET', '/version'),
  kubectl: (cluster) => cluster.kubectl(['version']),
  serviceAccountToken: (cluster) => cluster.serviceAccountToken('a', 'b'),
  kubeconfigFor: (cluster) => cluster.kubeconfigFor({ name: 'a' }),
  namespace: (cluster) => cluster.namespace('a'),
}

for (const [name, ask] of Object.entries(WAYS)) {
  await test(`${name}: until the signal the cluster answers, from then on it is not asked`, async (t) => {
    const ending = new AbortController()
    const { cluster, seen } = clusterOf(async () => 'here')
    const guarded = clusterUntil(ending.signal, cluster)
    t.strictSame(await ask(guarded), await ask(cluster))
    end(ending)
    await t.rejects(ask(guarded), REASON)
    t.equal(seen.calls, 2)
  })

  await test(`${name}: what is in progress ends with the signal, however the cluster fails then`, async (t) => {
    const ending = new AbortController()
    const silent = clusterUntil(ending.signal, clusterOf(() => new Promise(() => undefined)).cluster)
    const waiting = ask(silent)
    const refused = ask(
      clusterUntil(
        ending.signal,
        clusterOf(async () => {
          end(ending)
          throw new Error('connection refused')
        }).cluster,
      ),
    )
    await t.rejects(refused, REASON)
    await t.rejects(waiting, REASON)
  })
}

await test('a failure of its own is told as it is', async (t) => {
  const { signal } = new AbortController()
  await t.rejects(unlessAborted(signal, Promise.reject(new Error('no such file'))), { message: 'no such file' })
  t.equal(await unlessAborted(signal, Promise.resolve('done')), 'done')
})

await test('the signal ends a start, and leaves alone what is up', async (t) => {
  const ending = new AbortController()
  const starting: AbortSignal[] = []
  const start = async (signal: AbortSignal): Promise<string> => {
    starting.push(signal)
    return 'up'
  }
  const hanging = whileStarting(ending.signal, (signal) => unlessAborted(signal, new Promise(() => undefined)))
  t.equal(await whileStarting(ending.signal, start), 'up')
  end(ending)
  await t.rejects(hanging, REASON)
  t.strictSame(starting.map(({ aborted }) => aborted), [false])
  await t.rejects(whileStarting(ending.signal, start), REASON)
  t.equal(starting.length, 1)
})
