import fc from 'fast-check'
import { test } from 'tap'
import type { Tokens } from '../../src/jwt/tokens.ts'
import { rememberVerified } from '../../src/jwt/verified-tokens.ts'
import { keyBytes, SESSION, START, tokenBench, type TokenBench } from '../support/token-bench.ts'

interface Counted extends TokenBench {
  remembered: Tokens
  /** How many tokens were really checked. */
  checked(): number
}

const counted = (maxCharacters = 8_192): Counted => {
  const bench = tokenBench()
  let checks = 0
  const plain: Tokens = {
    sign: (claims, times) => bench.tokens.sign(claims, times),
    verify: (token) => {
      checks += 1
      return bench.tokens.verify(token)
    },
  }
  return { ...bench, remembered: rememberVerified(plain, bench.ring, bench.clock, maxCharacters), checked: () => checks }
}
const sign = ({ remembered }: Counted, user = 'alice', ttlMs = 60_000): Promise<string> => remembered.sign({ ...SESSION, user }, { ttlMs })

await test('a good token is checked once', async (t) => {
  const bench = counted()
  const token = await sign(bench)
  const first = await bench.remembered.verify(token)
  t.match(first, { ok: true, token: { user: 'alice' } })
  t.same([await bench.remembered.verify(token), await bench.remembered.verify(token.split('.').join('.'))], [first, first])
  t.equal(bench.checked(), 1)
})

await test('a bad token is checked each time, and is not remembered', async (t) => {
  const bench = counted()
  const token = `${(await sign(bench)).slice(0, -4)}AAAA`
  t.same([await bench.remembered.verify(token), await bench.remembered.verify(token)], [{ ok: false, why: 'signature' }, { ok: false, why: 'signature' }])
  t.equal(bench.checked(), 2)
})

await test('at its expiry a token is asked for again', async (t) => {
  const bench = counted()
  const token = await sign(bench)
  const at = async (ms: number): Promise<[boolean, number]> => {
    bench.moveTo(START + ms)
    return [(await bench.remembered.verify(token)).ok, bench.checked()]
  }
  t.same([await at(0), await at(59_999), await at(60_000), await at(64_999), await at(65_000), await at(65_001)], [[true, 1], [true, 1], [true, 2], [true, 3], [false, 4], [false, 5]])
})

await test('a clock that was set back makes it check again', async (t) => {
  const bench = counted()
  const token = await sign(bench)
  t.match(await bench.remembered.verify(token), { ok: true })
  bench.moveTo(START - 10_000)
  t.same(await bench.remembered.verify(token), { ok: false, why: 'claims' })
})

await test('nothing outlives a change of the keys', async (t) => {
  const bench = counted()
  const token = await sign(bench)
  await bench.remembered.verify(token)
  bench.ring.add('300', keyBytes(3))
  t.match([await bench.remembered.verify(token), bench.checked()], [{ ok: true }, 2])
  bench.ring.remove('200')
  t.same(await bench.remembered.verify(token), { ok: false, why: 'kid' })
})

await test('what was checked while the keys changed is not remembered', async (t) => {
  const bench = counted()
  const token = await sign(bench)
  const under = bench.remembered.verify(token)
  bench.ring.remove('200')
  t.match(await under, { ok: true }, 'it was good when it was asked')
  t.same(await bench.remembered.verify(token), { ok: false, why: 'kid' })
})

await test('no more are remembered than asked for: those not seen for longest go', async (t) => {
  const users = ['a', 'b', 'c']
  const { length } = await sign(counted())
  const bench = counted(2 * length)
  const [a, b, c] = await Promise.all(users.map((user) => sign(bench, `al1c${user}`)))
  t.strictSame([a?.length, b?.length, c?.length], [length, length, length])
  const check = async (token = ''): Promise<number> => {
    await bench.remembered.verify(token)
    return bench.checked()
  }
  t.same([await check(a), await check(b), await check(c), await check(b), await check(c), await check(a), await check(c), await check(b)], [1, 2, 3, 3, 3, 4, 4, 5])
})

await test('a long token takes the place of several short ones', async (t) => {
  const groups = Array.from({ length: 80 }, (_, index) => `group-${index}`)
  const signLong = ({ remembered }: Counted, user: string): Promise<string> => remembered.sign({ ...SESSION, user, groups }, { ttlMs: 60_000 })
  const { length } = await signLong(counted(), 'carol')
  const bench = counted(2 * length)
  const check = async (token: string): Promise<number> => {
    await bench.remembered.verify(token)
    return bench.checked()
  }
  const [a, b, carol, david] = [await sign(bench, 'a'), await sign(bench, 'b'), await signLong(bench, 'carol'), await signLong(bench, 'david')]
  t.ok(a.length + b.length < length && carol.length === length && david.length === length)
  t.same([await check(a), await check(b), await check(a), await check(b)], [1, 2, 2, 2], 'both short ones have room')
  t.same([await check(carol), await check(david), await check(carol)], [3, 4, 4])
  t.same([await check(b), await check(a)], [5, 6])
})

await test('a token that fits into no cookie is checked each time', async (t) => {
  const bench = counted()
  const token = await bench.remembered.sign({ ...SESSION, groups: Array.from({ length: 400 }, (_, index) => `group-${index}`) }, { ttlMs: 60_000 })
  t.ok(token.length > 4096)
  t.match([await bench.remembered.verify(token), await bench.remembered.verify(token), bench.checked()], [{ ok: true }, { ok: true }, 2])
})

type Step = { do: 'ask'; token: number } | { do: 'move'; ms: number } | { do: 'add'; kid: number } | { do: 'remove'; kid: number }
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('ask' as const), token: fc.nat(11) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('move' as const), ms: fc.integer({ min: -15_000, max: 40_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('add' as const), kid: fc.integer({ min: 2, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), kid: fc.integer({ min: 2, max: 4 }) }) },
)

await test('whatever happens, it answers as the plain check does at the same time and with the same keys', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 60 }), fc.integer({ min: 500, max: 4_000 }), async (steps, maxCharacters) => {
      const { ring, clock, tokens, moveTo } = tokenBench()
      const remembered = rememberVerified(tokens, ring, clock, maxCharacters)
      const made: string[] = []
      for (let index = 0; index < 10; index += 1) {
        if (index === 5) ring.add('300', keyBytes(3))
        made.push(await tokens.sign({ ...SESSION, user: `u${index}` }, { ttlMs: 10_000 * (index + 1) }))
      }
      made.push(`${made[0]?.slice(0, -2)}AA`, 'x.y.z')
      for (const next of steps) {
        if (next.do === 'move') moveTo(clock.now() + next.ms)
        else if (next.do === 'add') ring.add(`${next.kid}00`, keyBytes(next.kid))
        else if (next.do === 'remove') ring.remove(`${next.kid}00`)
        else {
          const token = made[next.token] ?? ''
          const asked = remembered.verify(token)
          t.strictSame(await asked, await tokens.verify(token))
        }
      }
    }),
    { numRuns: 150 },
  )
})
