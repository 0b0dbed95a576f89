import { test } from 'tap'
import { listen, type Listener } from '../src/listen.ts'

/** Fails on one host, as a machine without IPv6 does; listens on any other. */
const server = (refusedHost: string, code: string): Listener & { asked: string[] } => {
  const asked: string[] = []
  return {
    asked,
    listen: async ({ host }) => {
      asked.push(host)
      if (host === refusedHost) throw Object.assign(new Error(`listen ${code}`), { code })
      return `http://${host}`
    },
    addresses: () => [{ port: 4711 }],
  }
}

const cases: Record<string, { host: string; refused: string; code: string; asked: string[]; outcome: number | string }> = {
  'listens where it is told to': { host: '127.0.0.1', refused: 'none', code: '', asked: ['127.0.0.1'], outcome: 4711 },
  'listens on all addresses of IPv4 where there is no IPv6': { host: '::', refused: '::', code: 'EAFNOSUPPORT', asked: ['::', '0.0.0.0'], outcome: 4711 },
  'a port that is taken is an error, also on all addresses': {
    host: '::',
    refused: '::',
    code: 'EADDRINUSE',
    asked: ['::'],
    outcome: 'the metrics server cannot listen on ::, port 8080: listen EADDRINUSE',
  },
  'an address that is not there is not exchanged for another': {
    host: '::1',
    refused: '::1',
    code: 'EADDRNOTAVAIL',
    asked: ['::1'],
    outcome: 'the metrics server cannot listen on ::1, port 8080: listen EADDRNOTAVAIL',
  },
}

for (const [sentence, { host, refused, code, asked, outcome }] of Object.entries(cases)) {
  await test(sentence, async (t) => {
    const app = server(refused, code)
    const got = await listen(app, 'metrics server', host, 8080).catch((error: unknown) => (error instanceof Error ? error.message : error))
    t.equal(got, outcome)
    t.strictSame(app.asked, asked)
  })
}
