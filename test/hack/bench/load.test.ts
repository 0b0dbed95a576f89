import { once } from 'node:events'
import { createServer as createPlainServer, type IncomingMessage } from 'node:http'
import { createServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { startLoad } from '../../../hack/bench/load.ts'
import type { LoadJob } from '../../../hack/bench/load-protocol.ts'
import { createMaterial } from '../../../src/serving/certificate.ts'

const NAME = 'bench.test'
const { caBundle, leaf } = await createMaterial([NAME], Date.now())

interface Seen {
  path: string | undefined
  body: string
  connection: string
}

/** A server that says what it is told to say to each request. */
const serve = async (t: Test, answer: (body: string) => { status: number; body: string } | 'hang up', options: ServerOptions = {}) => {
  const seen: Seen[] = []
  const server = createServer({ ...leaf, ...options }, (request: IncomingMessage, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (piece: string) => (body += piece))
    request.on('end', () => {
      seen.push({ path: request.url, body, connection: `${request.socket.remotePort}` })
      const said = answer(body)
      if (said === 'hang up') request.socket.destroy()
      else response.writeHead(said.status).end(said.body)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const load = startLoad(new AbortController().signal)
  t.teardown(async () => {
    await load.stop()
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const job = (more: Partial<LoadJob>): LoadJob => ({ host: '127.0.0.1', port, ca: caBundle, serverName: NAME, connections: 3, turns: 10, steps: [], ...more })
  return { seen, load, job }
}

const yes = { status: 200, body: '{"allowed":true}' }

await test('every turn sends all steps in order with its own bodies, over connections that are kept from job to job', async (t) => {
  const { seen, load, job } = await serve(t, (body) => ({ status: 200, body: `{"echo":"${body}","allowed":true}` }))
  const steps = [
    { path: '/mutate', bodies: ['m0', 'm1'], expect: '"allowed":true' },
    { path: '/validate', bodies: ['v0', 'v1', 'v2'], expect: '"allowed":true' },
  ]
  const result = await load.run(job({ steps, turns: 6 }))
  t.equal(result.requests, 12)
  t.ok(result.seconds > 0)
  t.strictSame(result.lastBodies, ['{"echo":"m1","allowed":true}', '{"echo":"v2","allowed":true}'])
  t.strictSame(seen.map(({ path, body }) => `${path} ${body}`).toSorted(), [
    ...['m0', 'm0', 'm0', 'm1', 'm1', 'm1'].map((body) => `/mutate?timeout=5s ${body}`),
    ...['v0', 'v0', 'v1', 'v1', 'v2', 'v2'].map((body) => `/validate?timeout=5s ${body}`),
  ])
  await load.run(job({ steps, turns: 6 }))
  t.ok(new Set(seen.map(({ connection }) => connection)).size <= 3, 'no connection beyond the three')
})

await test('an answer without what is expected ends the job with that answer', async (t) => {
  const { load, job } = await serve(t, () => ({ status: 200, body: '{"allowed":false}' }))
  const steps = [{ path: '/validate', bodies: ['x'], expect: '"allowed":true' }]
  await t.rejects(load.run(job({ steps })), { message: '/validate answered 200: {"allowed":false}' })
})

await test('another status ends it too', async (t) => {
  const { load, job } = await serve(t, () => ({ ...yes, status: 503 }))
  const steps = [{ path: '/validate', bodies: ['x'], expect: '"allowed":true' }]
  await t.rejects(load.run(job({ steps })), { message: '/validate answered 503: {"allowed":true}' })
})

await test('a server that hangs up is told, and nothing waits for it', async (t) => {
  const { load, job } = await serve(t, () => 'hang up')
  await t.rejects(load.run(job({ steps: [{ path: '/x', bodies: ['x'], expect: '' }] })), { message: 'the server closed a connection that was in use' })
})

await test('a certificate of somebody else is not accepted', async (t) => {
  const { load, job } = await serve(t, () => yes)
  await t.rejects(load.run(job({ serverName: 'another.test', steps: [{ path: '/x', bodies: ['x'], expect: '' }] })), { message: /altnames/ })
})

await test('over plain HTTP, with headers of each turn, and a GET where there is no body', async (t) => {
  const seen: string[] = []
  const server = createPlainServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.host} ${request.headers.cookie}`)
    response.writeHead(204, { 'content-length': 0 }).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const load = startLoad(new AbortController().signal)
  t.teardown(async () => {
    await load.stop()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const steps = [
    { path: '/verify', bodies: [''], headers: [{ Cookie: 'a=1' }, { Cookie: 'a=2' }], status: 204, expect: '' },
    { path: '/make?dryRun=All', bodies: ['x'], headers: [{ Cookie: 'b=1' }], status: 204, expect: '' },
  ]
  await load.run({ host: '127.0.0.1', port, serverName: NAME, connections: 2, turns: 2, steps })
  const host = `${NAME}:${port}`
  t.strictSame(seen.toSorted(), [`GET /verify ${host} a=1`, `GET /verify ${host} a=2`, `POST /make?dryRun=All ${host} b=1`, `POST /make?dryRun=All ${host} b=1`])
})

await test('the end of the benchmark ends the load process and the job', async (t) => {
  const ending = new AbortController()
  const load = startLoad(ending.signal)
  const { job } = await serve(t, () => yes)
  const running = load.run(job({ turns: 100_000_000, steps: [{ path: '/x', bodies: ['x'], expect: '' }] }))
  ending.abort(new Error('ended by SIGINT'))
  await t.rejects(running, { message: 'the load process ended' })
  await load.stop()
  t.throws(() => load.run(job({})), { message: 'ended by SIGINT' })
})
