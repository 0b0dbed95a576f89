import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { t as file, test, type Test } from 'tap'
import { DEFAULT_CSI_OPTIONS } from '../../src/csi/options.ts'
import { runCsi } from '../../src/csi/role.ts'
import { serveCsi } from '../../src/csi/serve.ts'
import { plainFiles } from '../../src/csi/volume-files.ts'
import { openVolumeRecords } from '../../src/csi/volume-records.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { runCsiSanity, type SanityOutcome } from '../support/csi-sanity.ts'
import { LEFT_OUT, LIFE_OF_A_VOLUME, PASSED } from '../support/csi-sanity-tests.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube } from '../support/memory-kube.ts'
import { plainPublisher } from '../support/plain-publisher.ts'
import { standInController } from '../support/stand-in-controller.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

// The program may have to be built first.
file.setTimeout(10 * 60_000)

/** A folder for the plugin, and one for the program. */
const ground = async (t: Test) => {
  const folder = await temporaryFolder(t)
  const work = join(folder, 'work')
  await mkdir(work)
  return { folder, work, endpoint: join(folder, 'csi.sock'), stateDir: join(folder, 'state') }
}

/** The plugin as it ships, with Kubernetes in memory. */
const wholePlugin = async (t: Test) => {
  const { folder, endpoint, stateDir, work } = await ground(t)
  const { log, lines } = logLines()
  const at = { endpoint, stateDir, registrationDir: folder, kubeletDir: work, metricsHost: '127.0.0.1', metricsPort: 0 }
  const kube = Object.assign(memoryKube(), { issueToken: () => Promise.reject(new Error('no token is made here')) })
  const running = await runCsi({ ...DEFAULT_CSI_OPTIONS, ...at, nodeName: 'node-1' }, kube, { logger: log, clock: systemClock, version: '1.0.0' })
  t.teardown(() => running.stop())
  await running.ready
  return { endpoint, work, lines }
}

/** Its edges alone: the services and the disk, without a gate. */
const gatelessPlugin = async (t: Test) => {
  const { folder, endpoint, stateDir, work } = await ground(t)
  const { log } = logLines()
  const records = await openVolumeRecords(stateDir, log)
  const calls: string[] = []
  const server = await serveCsi({
    endpoint,
    registrationSocket: join(folder, 'reg.sock'),
    kubeletEndpoint: endpoint,
    nodeName: 'node-1',
    version: '1.0.0',
    publisher: plainPublisher(plainFiles, records, new Map([['context.token', 'token']])),
    ready: () => undefined,
    logger: log,
    metrics: { answered: (method, code) => calls.push(`${method} ${code}`), registered: () => undefined },
  })
  t.teardown(() => server.stop())
  return { folder, endpoint, records, calls, stateDir, work }
}

/** All of them as tests of ours: what failed fails, what was left out is said with its reason. */
const report = (t: Test, outcomes: readonly SanityOutcome[], reasonOf: (name: string) => string | undefined): void => {
  for (const { name, state, message } of outcomes) {
    const reason = reasonOf(name)
    if (state === 'passed') t.pass(name)
    else if (reason === undefined || (state !== 'skipped' && state !== 'pending')) t.fail(`${name}: ${state}`, { message })
    else t.comment(`not run: ${name}: ${reason}`)
  }
}

const named = (outcomes: readonly SanityOutcome[], isWanted: (state: string) => boolean): string[] =>
  outcomes.filter(({ state }) => isWanted(state)).map(({ name }) => name).toSorted()

await test('csi-sanity passes what there is for a plugin without a controller, and nothing else is left out than what is listed', async (t) => {
  const { endpoint, work, lines } = await wholePlugin(t)
  // These do not ask whether there is a Controller service: they would fail for want of it.
  const { code, outcomes } = await runCsiSanity(endpoint, work, /\[Controller Server\]|NodeUnpublishVolume should remove target path/)
  const reasons = new Map(LEFT_OUT.flatMap(({ reason, tests }) => tests.map((name): [string, string] => [name, reason])))
  report(t, outcomes, (name) => reasons.get(name))
  t.equal(code, 0)
  t.strictSame(named(outcomes, (state) => state === 'passed'), PASSED.toSorted())
  t.strictSame(named(outcomes, (state) => state !== 'passed'), [...reasons.keys()].toSorted())
  t.strictSame(lines.filter(({ level }) => level === 'error'), [])
})

await test('its tests of the whole life of a volume pass with a stand-in for the controller in front', async (t) => {
  const { folder, endpoint, records, calls, stateDir, work } = await gatelessPlugin(t)
  const front = join(folder, 'front.sock')
  const controller = await standInController(front, endpoint)
  t.teardown(() => controller.stop())
  const { code, outcomes } = await runCsiSanity(front, work, /\[(?:Group)?Controller/)
  report(t, outcomes.filter(({ name }) => LIFE_OF_A_VOLUME.includes(name)), () => undefined)
  t.equal(code, 0)
  t.strictSame(named(outcomes, (state) => state === 'passed'), [...PASSED, ...LIFE_OF_A_VOLUME].toSorted())
  t.ok(calls.filter((call) => call === 'NodePublishVolume OK').length >= 12, 'volumes were published, one of them again and again')
  t.strictSame(await records.all(), [])
  t.strictSame(await readdir(join(stateDir, 'volumes')), [])
})
