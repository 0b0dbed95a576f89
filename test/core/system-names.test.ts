import { test } from 'tap'
import { AUTHENTICATED, isReservedName, withAuthenticated } from '../../src/core/system-names.ts'

await test('names of Kubernetes itself', (t) => {
  for (const name of ['system:masters', 'system:', 'system:serviceaccount:a:b']) t.ok(isReservedName(name), name)
  for (const name of ['', 'system', 'System:masters', 'my-system:x', 'github:system:masters']) t.notOk(isReservedName(name), name)
  t.end()
})

await test('the group of everybody is added once', (t) => {
  t.strictSame(withAuthenticated([]), [AUTHENTICATED])
  t.strictSame(withAuthenticated(['a']), ['a', AUTHENTICATED])
  t.strictSame(withAuthenticated([AUTHENTICATED, 'a']), [AUTHENTICATED, 'a'])
  t.end()
})
