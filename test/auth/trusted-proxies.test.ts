import { test } from 'tap'
import { trustedProxies } from '../../src/auth/trusted-proxies.ts'
import { outcome } from '../support/outcome.ts'

await test('who is trusted', (t) => {
  const proxies = trustedProxies(['127.0.0.1', '::1', '10.1.0.0/16', 'fd00:1::/32', '::ffff:192.0.2.7'])
  const cases: [address: string | undefined, trusted: boolean][] = [
    ['127.0.0.1', true],
    ['::ffff:127.0.0.1', true],
    ['::FFFF:127.0.0.1', true],
    ['127.0.0.2', false],
    ['::1', true],
    ['10.1.2.3', true],
    ['::ffff:10.1.2.3', true],
    ['10.2.0.1', false],
    ['fd00:1::5', true],
    ['fd00:1::5%eth0', true],
    ['fd00:2::5', false],
    ['192.0.2.7', true],
    ['::ffff:192.0.2.7', true],
    ['::', false],
    ['', false],
    ['localhost', false],
    [undefined, false],
  ]
  for (const [address, trusted] of cases) t.equal(proxies.trusts(address), trusted, String(address))
  t.equal(trustedProxies([]).trusts('127.0.0.1'), false, 'nobody, when there is none')
  t.equal(trustedProxies(['0.0.0.0/0']).trusts('203.0.113.9'), true)
  t.equal(trustedProxies(['0.0.0.0/0']).trusts('2001:db8::1'), false)
  t.end()
})

await test('what is no address and no CIDR', (t) => {
  for (const item of ['localhost', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0/8', '::1/129', '/8', '10.0.0.0/-1', '10.0.0.0/8x', '::ffff:10.0.0.0/104', '*'])
    t.equal(
      outcome(() => trustedProxies([item])),
      `CONFIG_INVALID: TRUSTED_PROXIES (--trusted-proxies) must be addresses or CIDRs joined by commas, such as 10.0.0.0/8,::1; got ${JSON.stringify(item)}`,
    )
  t.end()
})
