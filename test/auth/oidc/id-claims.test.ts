import fc from 'fast-check'
import { test } from 'tap'
import { prefixProblem, readIdClaims, type ClaimRules } from '../../../src/auth/oidc/id-claims.ts'

const RULES: ClaimRules = { usernamePrefix: 'gh:', groupsPrefix: 'org:', addAuthenticatedGroup: false }
const PAYLOAD = { sub: 'sub-alice', preferred_username: 'alice', groups: ['a', 'b'], exp: 100 }

await test('what is believed of a token', async (t) => {
  const table: Record<string, { payload?: object; rules?: Partial<ClaimRules>; is: object }> = {
    'names get their prefixes, the subject none': { is: { subject: 'sub-alice', username: 'gh:alice', groups: ['org:a', 'org:b'], expiresAt: 100_000 } },
    '"-" is no prefix': { rules: { usernamePrefix: '-', groupsPrefix: '-' }, is: { subject: 'sub-alice', username: 'alice', groups: ['a', 'b'], expiresAt: 100_000 } },
    'nor is nothing': { rules: { usernamePrefix: '', groupsPrefix: '' }, is: { subject: 'sub-alice', username: 'alice', groups: ['a', 'b'], expiresAt: 100_000 } },
    'a name that has the prefix already gets it again': { payload: { groups: ['org:a'] }, is: { subject: 'sub-alice', username: 'gh:alice', groups: ['org:org:a'], expiresAt: 100_000 } },
    'no groups are none': { payload: { groups: undefined }, is: { subject: 'sub-alice', username: 'gh:alice', groups: [], expiresAt: 100_000 } },
    'a group without a name is none, whatever the prefix': { payload: { groups: ['', 'a', 'a'] }, is: { subject: 'sub-alice', username: 'gh:alice', groups: ['org:a'], expiresAt: 100_000 } },
    'system:authenticated is added where that is asked for': {
      rules: { addAuthenticatedGroup: true },
      is: { subject: 'sub-alice', username: 'gh:alice', groups: ['org:a', 'org:b', 'system:authenticated'], expiresAt: 100_000 },
    },
    'and may then be in the token, without a prefix and once': {
      payload: { groups: ['system:authenticated'] },
      rules: { addAuthenticatedGroup: true },
      is: { subject: 'sub-alice', username: 'gh:alice', groups: ['system:authenticated'], expiresAt: 100_000 },
    },
  }
  for (const [name, { payload, rules, is }] of Object.entries(table)) t.strictSame(readIdClaims({ ...PAYLOAD, ...payload }, { ...RULES, ...rules }), { ok: true, claims: is }, name)
})

await test('what is not believed', async (t) => {
  const table: Record<string, { payload: object; rules?: Partial<ClaimRules>; why: string }> = {
    'no subject': { payload: { sub: undefined }, why: 'sub is missing or no name' },
    'an empty subject': { payload: { sub: '' }, why: 'sub is missing or no name' },
    'no name': { payload: { preferred_username: undefined }, why: 'preferred_username is missing or no name' },
    'an empty name': { payload: { preferred_username: '' }, why: 'preferred_username is missing or no name' },
    'a name that is no text': { payload: { preferred_username: ['alice'] }, why: 'preferred_username is missing or no name' },
    'a name with a line end': { payload: { preferred_username: 'alice\nroot' }, why: 'preferred_username is missing or no name' },
    'a name without end': { payload: { preferred_username: 'a'.repeat(513) }, why: 'preferred_username is missing or no name' },
    "a name of Kubernetes' own": { payload: { preferred_username: 'system:admin' }, why: 'preferred_username begins with "system:"' },
    'that becomes one by the prefix': { payload: { preferred_username: 'tem:admin' }, rules: { usernamePrefix: 'sys' }, why: 'preferred_username begins with "system:"' },
    'groups as text': { payload: { groups: 'team-a' }, why: 'groups is no list' },
    'groups as an object': { payload: { groups: { 0: 'team-a', length: 1 } }, why: 'groups is no list' },
    'a group that is no text': { payload: { groups: ['a', 7] }, why: 'groups holds something that is no name' },
    "a group of Kubernetes' own": { payload: { groups: ['a', 'system:masters'] }, why: 'groups holds a name that begins with "system:"' },
    'also with the option for another one': { payload: { groups: ['system:masters'] }, rules: { addAuthenticatedGroup: true }, why: 'groups holds a name that begins with "system:"' },
    'system:authenticated without the option': { payload: { groups: ['system:authenticated'] }, why: 'groups holds a name that begins with "system:"' },
    'a group that becomes one by the prefix': { payload: { groups: [':masters'] }, rules: { groupsPrefix: 'system' }, why: 'groups holds a name that begins with "system:"' },
    'no end': { payload: { exp: undefined }, why: 'exp is missing' },
  }
  for (const [name, { payload, rules, why }] of Object.entries(table)) t.strictSame(readIdClaims({ ...PAYLOAD, ...payload }, { ...RULES, ...rules }), { ok: false, why }, name)
})

await test('whatever a token and the settings hold, no name of Kubernetes itself comes out', async (t) => {
  const name = fc.oneof(fc.string(), fc.constantFrom('system:', 'system:masters', 'system:authenticated', 'tem:x', ':masters', 'm:x', 'alice'))
  const prefix = fc.constantFrom('', '-', 's', 'sys', 'syste', 'system', 'gh:')
  fc.assert(
    fc.property(name, fc.oneof(fc.array(fc.oneof(name, fc.anything())), fc.anything()), prefix, prefix, fc.boolean(), (user, groups, usernamePrefix, groupsPrefix, addAuthenticatedGroup) => {
      const reading = readIdClaims({ ...PAYLOAD, preferred_username: user, groups }, { usernamePrefix, groupsPrefix, addAuthenticatedGroup })
      if (!reading.ok) return true
      const reserved = [reading.claims.username, ...reading.claims.groups].filter((one) => one.startsWith('system:'))
      return reserved.length === 0 || (addAuthenticatedGroup && reserved.join() === 'system:authenticated')
    }),
  )
  t.pass()
})

await test('a prefix must not make names of Kubernetes itself', async (t) => {
  t.match(prefixProblem('system:'), /system:/)
  t.match(prefixProblem('a\nb'), /control/)
  for (const good of ['', '-', 'github:', 'sys']) t.equal(prefixProblem(good), undefined, good)
})
