import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { playSteps, type Stage, type Step } from '../../../hack/sandbox/stage.ts'
import type { KubectlResult } from '../../../hack/control-plane/cluster-access.ts'
import { run } from '../../../hack/control-plane/run.ts'
import { ROOT } from '../../../hack/project.ts'

const said = (stdout: string, code = 0): KubectlResult => ({ stdout, stderr: '', code })

/** A stage where kubectl answers what is given, one after the other, the last one for ever. */
const stageOf = (...answers: readonly KubectlResult[]) => {
  const left = [...answers]
  const lines: string[] = []
  const ending = new AbortController()
  const kubectl = async (): Promise<KubectlResult> => (left.length > 1 ? left.shift() : left[0]) ?? said('')
  const stage: Stage = { cluster: { kubectl }, print: (line) => void lines.push(line), signal: ending.signal }
  return { stage, lines, ending }
}

const step = (more: Partial<Step> = {}): Step => ({ title: 'It is told', args: ['get', 'pod', 'a b', '-f', `${ROOT}/docs/examples/pod.yaml`], expect: {}, ...more })

await test('a step shows what it is about, a command that can be typed in the folder of the project, its output and the verdict', async (t) => {
  const { stage, lines } = stageOf(said('pod/one created\n'))
  t.strictSame(await playSteps(stage, [step()]), [])
  t.strictSame(lines, ['\n# It is told', "$ kubectl get pod 'a b' -f docs/examples/pod.yaml", 'pod/one created', '=> as told'])
})

const VERDICTS: Record<string, { answer: KubectlResult; expect: Step['expect']; verdict: string }> = {
  'a failure that was not told': { answer: said('', 3), expect: {}, verdict: '=> NOT as told: it failed with 3' },
  'a refusal that was told': { answer: said('no', 1), expect: { fails: true, says: ['no'] }, verdict: '=> as told' },
  'no refusal where one was told': { answer: said('yes'), expect: { fails: true }, verdict: '=> NOT as told: it was to be refused, and was not' },
  'words that are missing': { answer: said('one'), expect: { says: ['one', 'two'] }, verdict: '=> NOT as told: it does not say "two"' },
  'words that should not be there': { answer: said('one two'), expect: { saysNot: ['two'] }, verdict: '=> NOT as told: it says "two"' },
  'all words and no more': { answer: said('one\ntwo\n'), expect: { exactly: 'one\ntwo' }, verdict: '=> as told' },
  'more words than those': { answer: said('one\ntwo\n'), expect: { exactly: 'one' }, verdict: '=> NOT as told: it does not say "one" alone' },
}

for (const [name, { answer, expect, verdict }] of Object.entries(VERDICTS))
  await test(`the verdict on ${name}`, async (t) => {
    const { stage, lines } = stageOf(answer)
    t.strictSame(await playSteps(stage, [step({ expect })]), verdict === '=> as told' ? [] : ['It is told'])
    t.equal(lines.at(-1), verdict)
  })

await test('a step that takes its time is asked again, one that does not is asked once', async (t) => {
  const late = [said('not yet'), said('not yet'), said('there')]
  const patient = stageOf(...late)
  t.strictSame(await playSteps(patient.stage, [step({ expect: { says: ['there'] }, within: 10_000 })]), [])
  t.strictSame(patient.lines.slice(2), ['there', '=> as told'])
  t.strictSame(await playSteps(stageOf(...late).stage, [step({ expect: { says: ['there'] } })]), ['It is told'])
})

await test('the story goes on after a step that failed', async (t) => {
  const { stage, lines } = stageOf(said('', 1), said(''))
  t.strictSame(await playSteps(stage, [step({ title: 'first' }), step({ title: 'second' })]), ['first'])
  t.equal(lines.at(-1), '=> as told')
})

const withoutValues = (output: string): string => output.replaceAll(/=\d/g, '')

await test('what is made of the output is shown and judged', async (t) => {
  const { stage, lines } = stageOf(said('a=1\nb=2\n'))
  t.strictSame(await playSteps(stage, [step({ digest: withoutValues, expect: { exactly: 'a\nb' } })]), [])
  t.equal(lines.at(-2), 'a\nb')
})

await test('a token is judged as it is and never shown', async (t) => {
  const token = ['eyJhbGciOiJSUzI1NiJ9', 'eyJhdWQiOlsiY29ubmVjdG9ycy1wcm94eSJdfQ', 'c2lnbmF0dXJl-_x'].join('.')
  const { stage, lines } = stageOf(said(`http://a%2Fb:${token}@proxy`))
  t.strictSame(await playSteps(stage, [step({ expect: { says: [':eyJ'] } })]), [])
  t.equal(lines.at(-2), 'http://a%2Fb:<token>@proxy')
})

const TOKEN = ['eyJhbGciOiJIUzM4NCJ9', 'eyJQYXRoIjoiL2EifQ', 'c2lnbmF0dXJl'].join('.')

/** A server of one answer, on loopback. */
const serverOf = async (t: Pick<Test, 'teardown'>, status: number): Promise<{ url: string; asked: string[] }> => {
  const asked: string[] = []
  const server = createServer(({ url, headers }, answer) => {
    asked.push(`${url} ${String(headers['x-forwarded-uri'])}`)
    answer.writeHead(status, { location: '/there', 'set-cookie': `session=${TOKEN}; Path=/` }).end('all of it')
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/verify`, asked }
}

await test('a step may ask over HTTP: shown as curl would ask, a redirect is not followed, and the next one is made of what was heard', async (t) => {
  const { url, asked } = await serverOf(t, 303)
  const { stage, lines } = stageOf()
  let heard = ''
  const first = step({ args: [], curl: () => ({ url, headers: { 'X-Forwarded-Uri': '/a b' } }), heard: (output) => (heard = output), expect: { says: ['HTTP 303', 'location: /there', 'all of it'] } })
  const next = step({ args: [], curl: () => ({ url, headers: { Cookie: /session=\S+(?=;)/.exec(heard)?.[0] ?? '' } }) })
  t.strictSame(await playSteps(stage, [first, next]), [])
  t.strictSame(asked, ['/verify /a b', '/verify undefined'])
  t.match(heard, `set-cookie: session=${TOKEN}; Path=/`)
  t.equal(lines[1], `$ curl -i -H 'X-Forwarded-Uri: /a b' ${url}`)
  t.equal(lines[5], `$ curl -i -H 'Cookie: session=<token>' ${url}`)
  t.notMatch(lines.join('\n'), TOKEN)
})

await test('an answer that refuses is a failure', async (t) => {
  const { url } = await serverOf(t, 403)
  const { stage, lines } = stageOf()
  const curl = () => ({ url, headers: {} })
  t.strictSame(await playSteps(stage, [step({ args: [], curl, expect: { fails: true, says: ['HTTP 403'] } }), step({ args: [], curl })]), ['It is told'])
  t.equal(lines.at(-1), '=> NOT as told: it failed with 22')
})

const hanging: Stage['cluster'] = {
  kubectl: (_args, { signal } = {}) => run(process.execPath, ['-e', 'setInterval(() => 0, 1000)'], signal === undefined ? {} : { signal }),
}

await test('a command that does not end is ended, and the story goes on', async (t) => {
  const { stage, lines } = stageOf()
  t.strictSame(await playSteps({ ...stage, cluster: hanging, boundMs: 200 }, [step()]), ['It is told'])
  t.equal(lines.at(-1), '=> NOT as told: it did not end within 0.2 s')
})

await test('asked to end, it does not ask again', async (t) => {
  const { stage, ending } = stageOf(said('not yet'))
  const playing = playSteps(stage, [step({ expect: { says: ['there'] }, within: 60_000 })])
  setImmediate(() => ending.abort(new Error('ended by SIGINT')))
  await t.rejects(playing, { message: 'ended by SIGINT' })
})

await test('asked to end, it ends in the middle of a command', async (t) => {
  const { stage, ending } = stageOf()
  const playing = playSteps({ ...stage, cluster: hanging }, [step(), step()])
  ending.abort(new Error('ended by SIGINT'))
  await t.rejects(playing, { message: 'ended by SIGINT' })
})
