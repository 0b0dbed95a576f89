/** What is wrong with what a soak measured and counted, a sentence each. Pure. */
import type { Verdict } from '../support/grant-judge.ts'
import { limits } from './trend.ts'

/** How a role's memory and files went. */
export interface RoleFigures {
  role: string
  /** How often it was measured in the second half. */
  samples: { resident: number; heap: number }
  /** Megabytes per minute, over the second half. */
  residentSlope: number
  heapSlope: number
  /** Megabytes at the end. */
  resident: number
  heap: number
  /** Open files and sockets after the warm-up and at the end; undefined where the system does not tell. */
  files: { before: number; after: number } | undefined
}

/** Connections that are kept ready come and go; a leak of one for each Pod would be hundreds. */
export const SPARE_FILES = 12
/** No slope without two moments. */
const FEWEST_SAMPLES = 2
/** Names that are told; the others are counted. */
const MOST_NAMES = 3

const inShort = (names: readonly string[]): string => `${names.slice(0, MOST_NAMES).join(', ')}${names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : ''}`

const figure = (value: number): string => value.toFixed(2)

/** @param minutes how long the soak took */
export const problemsOfRole = ({ role, samples, residentSlope, heapSlope, files }: RoleFigures, minutes: number): string[] => {
  const { heap, resident } = limits(minutes / 2)
  const problems: string[] = []
  if (samples.resident < FEWEST_SAMPLES) problems.push(`the memory of the ${role} was measured ${samples.resident} times in the second half; nothing can be said of it`)
  if (samples.heap < FEWEST_SAMPLES) problems.push(`the live heap of the ${role} was measured ${samples.heap} times in the second half; nothing can be said of it`)
  if (heapSlope > heap) problems.push(`the live heap of the ${role} grows by ${figure(heapSlope)} MB/min; ${figure(heap)} is the limit`)
  if (residentSlope > resident) problems.push(`the memory of the ${role} grows by ${figure(residentSlope)} MB/min; ${figure(resident)} is the limit`)
  if (files !== undefined && files.after > files.before + SPARE_FILES) problems.push(`the ${role} has ${files.after} open files; it had ${files.before}`)
  return problems
}

export const describeRole = ({ role, residentSlope, heapSlope, resident, heap, files }: RoleFigures): string =>
  `${role}: RSS ${resident.toFixed(0)} MB (${figure(residentSlope)} MB/min), live heap ${heap.toFixed(1)} MB (${figure(heapSlope)} MB/min)${files === undefined ? '' : `, open files ${files.before} -> ${files.after}`}`

/** What was seen of Pods at their admission. */
export interface AdmissionCounts {
  created: number
  admitted: number
  /** Pods without a request. */
  unasked: readonly { name: string; uid: string }[]
  /** The uids of Pods of which the log of the webhook says that their request will be made at the mount. */
  putOff: ReadonlySet<string>
  /** How often the API server gave up the call of the Pod hook and admitted the Pod, by its own count. */
  failedOpen: number
}

/** A Pod is held up by nothing, so some may come without a request; of each of these either the webhook or the API server has to know why. */
export const problemsOfAdmission = ({ created, admitted, unasked, putOff, failedOpen }: AdmissionCounts): string[] => {
  const silent = unasked.filter(({ uid }) => !putOff.has(uid)).map(({ name }) => name)
  const problems = created === admitted ? [] : [`${created} Pods were created, ${admitted} were admitted`]
  if (silent.length > failedOpen) problems.push(`admitted without a request, and the webhook does not say why: ${inShort(silent)}; the API server gave up ${failedOpen} calls`)
  return problems
}

export interface GrantFacts {
  /** The uids of requests that said that they were usable: by then the Event about the grant was sent, or given up with a warning. */
  usable: ReadonlySet<string>
  /** Events about a grant that the controller gave up, as it logged. */
  unsentEvents: number
}

export const problemsOfGrants = ({ granted, grantedTwice, unapproved, toldTwice, untold, left, open }: Verdict, { usable, unsentEvents }: GrantFacts): string[] => {
  const silent = untold.filter((uid) => usable.has(uid))
  const found: Record<string, readonly string[]> = {
    'granted without an approval': unapproved,
    'granted twice': grantedTwice,
    'more than one Event about the grant': toldTwice,
    'usable without an Event about the grant': silent.length > unsentEvents ? silent : [],
    'left behind': left,
    'not final': open,
  }
  const problems = granted === 0 ? ['nothing was granted'] : []
  for (const [what, names] of Object.entries(found))
    if (names.length > 0) problems.push(`${what}: ${inShort(names)}`)
  return problems
}
