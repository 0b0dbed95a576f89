import { test } from 'tap'
import { createProgress } from '../../../hack/control-plane/progress.ts'

const record = () => {
  const written: string[] = []
  let now = 0
  return { written, pass: (ms: number) => void (now += ms), clock: () => now, output: { write: (text: string) => written.push(text) } }
}

await test('a step says when it begins, when it ends and how long it took', async (t) => {
  const { written, pass, clock, output } = record()
  const result = await createProgress(output, clock).step('go build etcd', async () => {
    pass(54_600)
    return 7
  })
  t.equal(result, 7)
  t.strictSame(written, ['go build etcd …\n', 'go build etcd: done in 55 s\n'])
})

await test('a step that fails says so, and the error goes on', async (t) => {
  const { written, pass, clock, output } = record()
  const step = createProgress(output, clock).step('go build etcd', async () => {
    pass(2_000)
    throw new Error('no compiler')
  })
  await t.rejects(step, new Error('no compiler'))
  t.strictSame(written, ['go build etcd …\n', 'go build etcd: failed after 2 s\n'])
})

await test('a long step shows every ten seconds that it lives, on a terminal every second in one line', async (t) => {
  const { mock } = await import('node:test')
  const plain = record()
  const live = record()
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const { promise: end, resolve } = Promise.withResolvers<void>()
  const work = async (detail: (text: string) => void): Promise<void> => {
    detail('12 MB')
    await end
  }
  const steps = [
    createProgress(plain.output, plain.clock).step('downloading', work),
    createProgress({ ...live.output, isTTY: true }, live.clock).step('downloading', work),
  ]
  for (let second = 0; second < 11; second++) {
    plain.pass(1_000)
    live.pass(1_000)
    mock.timers.tick(1_000)
  }
  resolve()
  await Promise.all(steps)
  t.strictSame(plain.written, ['downloading …\n', 'downloading … 10 s, 12 MB\n', 'downloading: done in 11 s\n'])
  t.equal(live.written.length, 12)
  t.equal(live.written[0], '\r\u001b[Kdownloading … 1 s, 12 MB')
  t.equal(live.written.at(-1), '\r\u001b[Kdownloading: done in 11 s\n')
})
