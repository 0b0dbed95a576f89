import { test } from 'tap'
import { isSubset, parseGroupList, prefixedGroup } from '../../src/core/group-list.ts'

await test('lists of groups', (t) => {
  const cases: Record<string, string[] | undefined> = {
    '': [],
    ' , ,, ': [],
    'one': ['one'],
    'one,two': ['one', 'two'],
    'one two': ['one', 'two'],
    ' one ,\ttwo,,three ': ['one', 'two', 'three'],
    'org1:team1,org1:team2': ['org1:team1', 'org1:team2'],
    '"quoted,group"': ['quoted,group'],
    'one,"two three" four': ['one', 'two three', 'four'],
    '"",one': ['one'],
    'équipe': ['équipe'],
    '"open': undefined,
    'one"two': undefined,
    '"one"two': undefined,
    'one,"': undefined,
  }
  for (const [text, expected] of Object.entries(cases)) t.strictSame(parseGroupList(text), expected, JSON.stringify(text))
  t.end()
})

await test('prefixes', (t) => {
  t.equal(prefixedGroup('github:', 'team'), 'github:team')
  t.equal(prefixedGroup('github:', 'github:team'), 'github:github:team')
  t.equal(prefixedGroup('github:', 'system:authenticated'), 'system:authenticated')
  t.equal(prefixedGroup('', 'team'), 'team')
  t.end()
})

await test('subsets', (t) => {
  t.ok(isSubset([], []))
  t.ok(isSubset([], ['a']))
  t.ok(isSubset(['a', 'a'], ['b', 'a']))
  t.notOk(isSubset(['a', 'c'], ['b', 'a']))
  t.notOk(isSubset(['A'], ['a']))
  t.end()
})
