import { test } from 'tap'
import type { Verdict } from '../support/grant-judge.ts'
import { mustBecomeUsable, type Plan } from './story.ts'
import { problemsOfAdmission, problemsOfGrants, problemsOfRole, type AdmissionCounts, type GrantFacts, type RoleFigures } from './verdict.ts'

const MINUTES = 30

const SOUND: RoleFigures = { role: 'controller', samples: { resident: 90, heap: 90 }, residentSlope: 0.1, heapSlope: 0.01, resident: 90, heap: 20, files: { before: 30, after: 31 } }

const ROLES: Record<string, [more: Partial<RoleFigures>, problems: string[]]> = {
  'all is well': [{}, []],
  'the system does not tell of open files': [{ files: undefined }, []],
  'RSS was never measured, so that its slope is 0': [
    { samples: { resident: 0, heap: 90 }, residentSlope: 0, resident: 0 },
    ['the memory of the controller was measured 0 times in the second half; nothing can be said of it'],
  ],
  'the heap was measured once': [
    { samples: { resident: 90, heap: 1 }, heapSlope: 0 },
    ['the live heap of the controller was measured 1 times in the second half; nothing can be said of it'],
  ],
  'RSS grows': [{ residentSlope: 5 }, ['the memory of the controller grows by 5.00 MB/min; 0.53 is the limit']],
  'the heap grows': [{ heapSlope: 1 }, ['the live heap of the controller grows by 1.00 MB/min; 0.10 is the limit']],
  'files stay open': [{ files: { before: 30, after: 300 } }, ['the controller has 300 open files; it had 30']],
}

for (const [title, [more, problems]] of Object.entries(ROLES)) await test(`a role: ${title}`, (t) => {
  t.strictSame(problemsOfRole({ ...SOUND, ...more }, MINUTES), problems)
  t.end()
})

const [FIRST, SECOND] = [{ name: 'pod-1', uid: 'a' }, { name: 'pod-2', uid: 'b' }]
const ASKED: AdmissionCounts = { created: 9, admitted: 9, unasked: [], putOff: new Set(), failedOpen: 0 }

const ADMISSIONS: Record<string, [more: Partial<AdmissionCounts>, problems: string[]]> = {
  'all is well': [{}, []],
  'one was not admitted': [{ admitted: 8 }, ['9 Pods were created, 8 were admitted']],
  'without a request, and the webhook says why': [{ unasked: [FIRST, SECOND], putOff: new Set(['a', 'b']) }, []],
  'without a request, and the webhook speaks of another': [
    { unasked: [FIRST, SECOND], putOff: new Set(['a', 'c']) },
    ['admitted without a request, and the webhook does not say why: pod-2; the API server gave up 0 calls'],
  ],
  'without a request, and the API server gave up a call': [{ unasked: [FIRST], failedOpen: 1 }, []],
  'more without a request than calls given up': [
    { unasked: [FIRST, SECOND], failedOpen: 1 },
    ['admitted without a request, and the webhook does not say why: pod-1, pod-2; the API server gave up 1 calls'],
  ],
}

for (const [title, [more, problems]] of Object.entries(ADMISSIONS)) await test(`admissions: ${title}`, (t) => {
  t.strictSame(problemsOfAdmission({ ...ASKED, ...more }), problems)
  t.end()
})

const CLEAN: Verdict = { requests: 9, granted: 5, open: [], left: [], grantedTwice: [], unapproved: [], toldTwice: [], untold: [], looks: 100 }
const USABLE: GrantFacts = { usable: new Set(['a', 'b']), unsentEvents: 0 }

const GRANTS: Record<string, [more: Partial<Verdict>, facts: Partial<GrantFacts>, problems: string[]]> = {
  'all is well': [{}, {}, []],
  'nothing was granted': [{ granted: 0 }, { usable: new Set() }, ['nothing was granted']],
  'granted without an approval': [{ unapproved: ['grant-1'] }, {}, ['granted without an approval: grant-1']],
  'granted twice': [{ grantedTwice: ['roles/1', 'roles/2', 'roles/3', 'roles/4', 'roles/5'] }, {}, ['granted twice: roles/1, roles/2, roles/3 and 2 more']],
  'told twice': [{ toldTwice: ['a'] }, {}, ['more than one Event about the grant: a']],
  'usable and not told': [{ untold: ['a'] }, {}, ['usable without an Event about the grant: a']],
  'usable and not told, as the controller says': [{ untold: ['a'] }, { unsentEvents: 1 }, []],
  'ended before it was usable, and not told': [{ untold: ['c'] }, {}, []],
  'left and open': [{ left: ['role'], open: ['request'] }, {}, ['left behind: role', 'not final: request']],
}

for (const [title, [more, facts, problems]] of Object.entries(GRANTS)) await test(`grants: ${title}`, (t) => {
  t.strictSame(problemsOfGrants({ ...CLEAN, ...more }, { ...USABLE, ...facts }), problems)
  t.end()
})

const LIVES: Record<string, [plan: Omit<Plan, 'name' | 'end'>, must: boolean]> = {
  'approved before it came, long life': [{ approval: 'before', decideMs: 8_000, endMs: 5_000 }, true],
  'approved before it came, short life': [{ approval: 'before', decideMs: 0, endMs: 4_999 }, false],
  'approved, long life': [{ approval: 'after', decideMs: 3_000, endMs: 8_000 }, true],
  'approved, ends soon after it': [{ approval: 'after', decideMs: 3_001, endMs: 8_000 }, false],
  'approved by a later task, long life': [{ approval: 'later task', decideMs: 3_000, endMs: 9_000 }, true],
  'approved by a later task, ends soon after it': [{ approval: 'later task', decideMs: 3_000, endMs: 8_999 }, false],
  rejected: [{ approval: 'rejected', decideMs: 0, endMs: 15_000 }, false],
  'never decided': [{ approval: 'never', decideMs: 0, endMs: 15_000 }, false],
}

for (const [title, [plan, must]] of Object.entries(LIVES)) await test(`has to become usable or not: ${title}`, (t) => {
  t.equal(mustBecomeUsable({ name: 'build', end: 'deleted', ...plan }), must)
  t.end()
})
