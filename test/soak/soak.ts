/** Lets gated Pods come and go on a real control plane for a while, and judges what it does to webhook and controller. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { LABEL } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import { isFinal } from '../../src/core/conditions.ts'
import { isRecord } from '../../src/core/json-shape.ts'
import { messageOf } from '../../src/errors.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { gatedWorld } from '../support/gated-world.ts'
import { callsGivenUp } from '../support/given-up-calls.ts'
import { judgeGrants } from '../support/grant-judge.ts'
import { persist } from '../support/persistent-world.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { startRoleProcesses, type RoleProcess } from '../../hack/sandbox/role-processes.ts'
import { createRandom } from './random.ts'
import { planStory, playStory } from './story.ts'
import { secondHalf, slopeOf, type Sample } from './trend.ts'
import { problemsOfAdmission, problemsOfGrants, problemsOfRole, SPARE_FILES, type RoleFigures } from './verdict.ts'

export interface SoakOptions {
  minutes: number
  /** A Pod comes every so many milliseconds. */
  everyMs: number
  seed: number
  print: (line: string) => void
  /** Aborted: no more Pods come, those that live end, and it stops. */
  signal: AbortSignal
}

export interface SoakResult {
  seed: number
  minutes: number
  counts: Record<string, number>
  roles: RoleFigures[]
  /** What is wrong, a sentence each; empty: all is well. */
  problems: string[]
}

/** Pods that live at once; when so many do, the next one waits. Far more than a machine in good health comes to. */
const MOST_AT_ONCE = 80
const SAMPLE_MS = 10_000
const PROGRESS_MS = 30_000
/** How often all requests are listed while somebody waits for the end of one. */
const LIST_MS = 1_000
/** What the webhook says when it leaves a request to the mount, for whatever reason. */
const AT_THE_MOUNT = 'the request will be made at the mount'
/** A request whose Pod never came is given up after 60 s. */
const OVER_WITHIN_MS = 180_000
/** Problems that are told; the others are counted. */
const MOST_TOLD = 10
const CONNECTOR = 'harbor'

const MB = 1e6

/** Only what the judge reads, in one file: half an hour of everything is more than the API server keeps in one. */
const AUDIT_POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create]
    resources: [{ group: rbac.authorization.k8s.io, resources: [roles, rolebindings] }]
  - level: None
`
const AUDIT_MEGABYTES = 2_000

interface Watched {
  role: RoleProcess
  resident: Sample[]
  heap: Sample[]
  filesBefore: number | undefined
}

const sample = async (watched: Watched, minute: number): Promise<void> => {
  const resident = await watched.role.metric('process_resident_memory_bytes')
  const { heapBytes } = await watched.role.inspector.look()
  if (resident !== undefined) watched.resident.push({ minute, megabytes: resident / MB })
  watched.heap.push({ minute, megabytes: heapBytes / MB })
}

const uidOf = (pod: unknown): string[] => (isRecord(pod) && typeof pod['uid'] === 'string' ? [pod['uid']] : [])

const podsPutOff = ({ complaints }: RoleProcess): ReadonlySet<string> => new Set(complaints.filter(({ msg }) => msg.includes(AT_THE_MOUNT)).flatMap((line) => uidOf(line['pod'])))

/** Idle connections are closed after a minute. */
const IDLE_MS = 75_000

const filesInTheEnd = async (role: RoleProcess, before: number): Promise<number> => {
  for (const end = performance.now() + IDLE_MS; ; ) {
    const files = (await role.openFiles()) ?? 0
    if (files <= before + SPARE_FILES || performance.now() > end) return files
    await delay(1_000)
  }
}

const figuresOf = async ({ role, resident, heap, filesBefore }: Watched, minutes: number): Promise<RoleFigures> => {
  const [warmResident, warmHeap] = [secondHalf(resident, minutes), secondHalf(heap, minutes)]
  return {
    role: role.role,
    samples: { resident: warmResident.length, heap: warmHeap.length },
    residentSlope: slopeOf(warmResident),
    heapSlope: slopeOf(warmHeap),
    resident: resident.at(-1)?.megabytes ?? 0,
    heap: heap.at(-1)?.megabytes ?? 0,
    files: filesBefore === undefined ? undefined : { before: filesBefore, after: await filesInTheEnd(role, filesBefore) },
  }
}

/**
 * Runs a soak.
 * @throws Error when control plane or roles do not come up; nothing is left running then
 */
export const soak = async (options: SoakOptions): Promise<SoakResult> => {
  const ends: (() => unknown)[] = []
  try {
    return await soakWith(options, { teardown: (end) => void ends.push(end) })
  } finally {
    for (const end of ends.toReversed()) await end()
  }
}

const soakWith = async ({ minutes, everyMs, seed, print, signal }: SoakOptions, t: { teardown(end: () => unknown): void }): Promise<SoakResult> => {
  const random = createRandom(seed)
  print(`seed ${seed}; ${minutes} min, a Pod every ${everyMs} ms`)
  // A control plane that is up lives until all Pods have ended.
  const starting = new AbortController()
  const giveUp = (): void => starting.abort(signal.reason)
  signal.throwIfAborted()
  signal.addEventListener('abort', giveUp)
  const folder = await temporaryFolder(t)
  const [auditLog, auditPolicy] = [join(folder, 'audit.log'), join(folder, 'audit-policy.yaml')]
  await writeFile(auditPolicy, AUDIT_POLICY)
  const apiServerOptions = [`--audit-policy-file=${auditPolicy}`, `--audit-log-maxsize=${AUDIT_MEGABYTES}`]
  const cluster = await startControlPlane({ log: print, signal: starting.signal, auditLog, apiServerOptions })
  signal.removeEventListener('abort', giveUp)
  t.teardown(() => cluster.stop())
  const processes = await startRoleProcesses({ cluster })
  t.teardown(() => processes.stop())
  const world = await gatedWorld(t, cluster)
  const { kube, shared } = world
  await world.connector(CONNECTOR)
  const judge = judgeGrants(kube, { namespace: shared, auditLog, lookMs: 1_000 })
  print('webhook and controller are up, as processes of their own')

  const counts: Record<string, number> = {}
  const problems: string[] = []
  const count = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1
  }
  const complain = (problem: string): void => {
    count('problems')
    if (problems.length >= MOST_TOLD) return
    problems.push(problem)
    print(`problem: ${problem}`)
  }
  void cluster.died.then((sentence) => complain(`the control plane broke down: ${sentence}`))
  let upcoming: Promise<ReadonlyMap<string, AccessRequest>> | undefined
  /** One list for all who wait, begun after each of them asked. */
  const requests = (): Promise<ReadonlyMap<string, AccessRequest>> =>
    (upcoming ??= (async () => {
      await delay(LIST_MS)
      upcoming = undefined
      const { items } = await persist('list of requests', () => kube.list(ACCESS_REQUESTS, { namespace: shared }))
      return new Map(items.map((request) => [request.metadata.uid ?? '', request]))
    })())
  const usable = new Set<string>()
  const unasked: { name: string; uid: string }[] = []
  const stage = {
    world,
    connector: CONNECTOR,
    requests,
    judge,
    usable,
    unasked: ({ metadata: { name, uid = '' } }: Pod) => void unasked.push({ name, uid }),
    count,
    ending: signal,
  }

  const startedAt = performance.now()
  const minute = (): number => (performance.now() - startedAt) / 60_000
  const watched: Watched[] = [processes.webhook, processes.controller].map((role) => ({ role, resident: [], heap: [], filesBefore: undefined }))
  const live = new Set<Promise<void>>()
  const admit = (number: number): void => {
    const plan = planStory(random, number)
    const story = playStory(stage, plan)
      .catch((error: unknown) => complain(`${plan.name} (approval: ${plan.approval}, end: ${plan.end}): ${messageOf(error)}`))
      .finally(() => live.delete(story))
    live.add(story)
  }
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  const every = async (ms: number, run: (round: number) => Promise<void> | void): Promise<void> => {
    const beganAt = performance.now()
    for (let round = 1; !until.aborted; round++) {
      await delay(Math.max(0, beganAt + round * ms - performance.now()), undefined, { signal: until }).catch(() => undefined)
      if (!until.aborted) await run(round)
    }
  }
  const progress = (): void => {
    const clock = new Date(minute() * 60_000).toISOString().slice(14, 19)
    const sizes = watched.map(({ role, resident, heap }) => `${role.role} RSS ${resident.at(-1)?.megabytes.toFixed(0) ?? '?'} MB, heap ${heap.at(-1)?.megabytes.toFixed(1) ?? '?'} MB`)
    print(`${clock}  Pods ${counts['Pods created'] ?? 0} (live stories ${live.size}), final ${counts['requests final'] ?? 0}, problems ${counts['problems'] ?? 0}; ${sizes.join('; ')}`)
  }

  const sampling = every(SAMPLE_MS, async () => {
    for (const one of watched) {
      await sample(one, minute()).catch((error: unknown) => complain(`the ${one.role.role} could not be looked into: ${messageOf(error)}`))
      if (minute() < minutes / 2) one.filesBefore = await one.role.openFiles()
    }
  })
  const reporting = every(PROGRESS_MS, progress)
  const coming = every(everyMs, (round) => {
    if (live.size < MOST_AT_ONCE) admit(round)
    else count('Pods put off: too many at once')
  })
  await delay(minutes * 60_000, undefined, { signal }).catch(() => undefined)
  over.abort()
  await Promise.all([coming, reporting, sampling])
  progress()
  print('no more Pods come; waiting until all have ended')
  await Promise.all(live)
  if (signal.aborted) problems.push('it was ended before its time')

  await untilNothingIsLeft().catch((error: unknown) => complain(messageOf(error)))
  const roles = await Promise.all(watched.map((one) => figuresOf(one, minutes)))
  problems.push(...roles.flatMap((one) => problemsOfRole(one, minutes)))
  for (const { role, ended, complaints } of [processes.webhook, processes.controller]) {
    const end = ended()
    if (end !== undefined) complain(`the ${role} ended (${end})`)
    for (const { reason, msg } of complaints.filter(({ level }) => level === 'warn')) count(`warnings of the ${role}: ${typeof reason === 'string' ? reason : msg}`)
    for (const line of complaints.filter(({ level }) => level !== 'warn')) complain(`the ${role} logged ${line.level}: ${JSON.stringify(line)}`)
  }
  const failedOpen = await callsGivenUp(cluster)
  problems.push(...problemsOfAdmission({ created: counts['Pods created'] ?? 0, admitted: counts['Pods admitted'] ?? 0, unasked, putOff: podsPutOff(processes.webhook), failedOpen }))
  const verdict = await judge.verdict()
  const unsentEvents = processes.controller.complaints.filter(({ msg, reason }) => reason === 'AccessGranted' && msg.includes('Event could not be recorded')).length
  problems.push(...problemsOfGrants(verdict, { usable, unsentEvents }))
  counts['Pods without a request'] = unasked.length
  counts['calls that the API server gave up'] = failedOpen
  counts['grants made'] = verdict.granted
  counts['grants without an Event'] = verdict.untold.length
  counts['requests usable'] = usable.size
  counts['Roles and RoleBindings left'] = verdict.left.length
  counts['requests open'] = verdict.open.length
  return { seed, minutes, counts, roles, problems }

  async function untilNothingIsLeft(): Promise<void> {
    const end = performance.now() + OVER_WITHIN_MS
    for (;;) {
      const labelSelector = LABEL.accessRequest
      const [roleList, bindingList, known] = await Promise.all([
        kube.list(ROLES, { namespace: shared, labelSelector }),
        kube.list(ROLE_BINDINGS, { namespace: shared, labelSelector }),
        requests(),
      ])
      const sizes = [roleList.items.length, bindingList.items.length, [...known.values()].filter(({ status }) => !isFinal(status)).length]
      if (sizes.every((size) => size === 0)) return
      if (performance.now() > end) throw new Error(`left after ${OVER_WITHIN_MS / 1000} s: ${sizes[0]} Roles, ${sizes[1]} RoleBindings, ${sizes[2]} requests that are not final`)
    }
  }
}
