import net, { type AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { createPluginClient, type PluginClient, type SessionOutcome } from '../../../src/extension/reviews/plugin-client.ts'
import type { Timers } from '../../../src/kube/timers.ts'
import { logLines, type LogLines } from '../../support/log-lines.ts'
import { listenOnLoopback } from '../../support/loopback-server.ts'
import { scriptedServer, type Script } from '../../support/scripted-server.ts'

const SESSION = { podUID: 'uid-1', workspaceName: 'app', namespace: 'team', connectionType: 'vscode-remote', connectionContext: { a: 'b' } }
const live = (): AbortSignal => new AbortController().signal

/** Pauses are over at once, and are counted; calls have all the time there is, or until `late`. */
const timersOf = (pauses: number[], late?: Promise<void>): Timers => ({
  monotonic: () => 0,
  after: (ms, run) => {
    if (ms === 30_000) {
      void late?.then(run)
      return () => undefined
    }
    pauses.push(ms)
    const timer = setTimeout(run, 0)
    return () => clearTimeout(timer)
  },
})

const clientOf = (endpoint: string, late?: Promise<void>): { client: PluginClient; pauses: number[]; log: LogLines } => {
  const pauses: number[] = []
  const log = logLines()
  return { client: createPluginClient({ endpoints: new Map([['aws', endpoint]]), timers: timersOf(pauses, late), logger: log.log }), pauses, log }
}

const UNREACHABLE: SessionOutcome = {
  ok: false,
  failure: { code: 503, reason: 'ServiceUnavailable', message: 'the remote access plugin cannot be reached now; try again', details: { retryAfterSeconds: 5 }, retryAfterSeconds: 5 },
  verdict: 'plugin unreachable',
}

await test('a session is asked for in the words of the plugins', async (t) => {
  const server = await scriptedServer(t, (_, response) => response.end('{"connectionURL":"vscode://x"}'))
  for (const endpoint of [server.url.href, `${server.url.origin}/`, server.url.origin]) {
    t.strictSame(await clientOf(endpoint).client.createSession('aws', SESSION, live()), { ok: true, url: 'vscode://x' })
  }
  for (const { method, url, body, headers } of server.seen) {
    t.strictSame({ method, url, body: JSON.parse(body) }, { method: 'POST', url: '/v1alpha1/remote-access/create-session', body: SESSION })
    t.equal(headers['content-type'], 'application/json')
    t.match(headers['x-plugin-request-id'], /^[0-9a-f]{16}$/)
    t.match(headers['x-origin-request-id'], /^[0-9a-f]{16}$/)
  }
  t.equal(server.seen.length, 3)
})

await test('a path of the endpoint is kept', async (t) => {
  const server = await scriptedServer(t, (_, response) => response.end('{"connectionURL":"vscode://x"}'))
  await clientOf(`${server.url.origin}/plugins/aws/`).client.createSession('aws', SESSION, live())
  t.equal(server.seen[0]?.url, '/plugins/aws/v1alpha1/remote-access/create-session')
})

const ANSWERS: Record<string, { script: Script; what: string }> = {
  'an error': { script: (_, response) => response.writeHead(500).end('{"error":"no such document at 10.0.0.1"}'), what: 'the plugin answered 500' },
  'a refusal': { script: (_, response) => response.writeHead(403).end(), what: 'the plugin answered 403' },
  'not now': { script: (_, response) => response.writeHead(503, { 'retry-after': '1' }).end(), what: 'the plugin answered 503' },
  'another place': { script: (_, response) => response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end(), what: 'the plugin answered 307' },
  'no address': { script: (_, response) => response.end('{}'), what: 'the plugin answered 200 without an address' },
  'an empty address': { script: (_, response) => response.end('{"connectionURL":""}'), what: 'the plugin answered 200 without an address' },
  'an address with a line end': { script: (_, response) => response.end('{"connectionURL":"vscode://x\\nSet-Cookie: a"}'), what: 'the plugin answered 200 without an address' },
  'no JSON': { script: (_, response) => response.end('<html>'), what: 'the plugin answered 200 without an address' },
  'a huge answer': { script: (_, response) => response.end(`{"connectionURL":"vscode://x","pad":"${'x'.repeat(70_000)}"}`), what: 'the plugin answered 200 without an address' },
}
for (const [name, { script, what }] of Object.entries(ANSWERS)) {
  await test(`an answer is final: ${name}`, async (t) => {
    const server = await scriptedServer(t, script)
    const { client, log } = clientOf(server.url.href)
    const outcome = await client.createSession('aws', SESSION, live())
    const id = String(server.seen[0]?.headers['x-origin-request-id'])
    const message = `the remote access plugin did not make a session; its log has more under request ${id}`
    t.strictSame(outcome, { ok: false, failure: { code: 502, reason: 'InternalError', message }, verdict: 'plugin failed' })
    t.equal(server.seen.length, 1)
    t.strictSame(log.messages(), [`warn a session was not made: ${what}`])
  })
}

const portOfNobody = async (): Promise<number> => {
  const server = net.createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => {
    server.close(resolve)
  })
  return port
}

await test('where nobody answers it is tried four times, half a second apart, and the address stays ours', async (t) => {
  const port = await portOfNobody()
  const { client, pauses, log } = clientOf(`http://127.0.0.1:${port}`)
  const outcome = await client.createSession('aws', SESSION, live())
  t.strictSame(outcome, UNREACHABLE)
  t.strictSame(pauses, [500, 500, 500])
  t.notMatch(JSON.stringify(outcome), String(port))
  t.strictSame(log.messages(), ['warn a session was not made: the plugin could not be reached'])
})

/** Closes the first connections without an answer, and answers then. */
const cutting = async (t: Test, cuts: number, end: (socket: net.Socket) => void): Promise<{ url: string; seen: () => number }> => {
  let seen = 0
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', () => {
      seen += 1
      if (seen <= cuts) end(socket)
      else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 30\r\nconnection: close\r\n\r\n{"connectionURL":"vscode://x"}')
    })
  })
  const port = await listenOnLoopback(t, server)
  return { url: `http://127.0.0.1:${port}`, seen: () => seen }
}

await test('a connection that is cut before the answer is made again', async (t) => {
  for (const end of [(socket: net.Socket) => socket.resetAndDestroy(), (socket: net.Socket) => socket.end()]) {
    const server = await cutting(t, 2, end)
    const { client, pauses } = clientOf(server.url)
    t.strictSame(await client.createSession('aws', SESSION, live()), { ok: true, url: 'vscode://x' })
    t.strictSame([server.seen(), pauses], [3, [500, 500]])
  }
})

await test('it is not tried for ever', async (t) => {
  const server = await cutting(t, 9, (socket) => socket.end())
  t.strictSame(await clientOf(server.url).client.createSession('aws', SESSION, live()), UNREACHABLE)
  t.equal(server.seen(), 4)
})

await test('an answer that does not come in time is not waited for, and not asked for again', async (t) => {
  const asked = Promise.withResolvers<void>()
  const server = await scriptedServer(t, () => asked.resolve())
  const { client, pauses } = clientOf(server.url.href, asked.promise)
  t.strictSame(await client.createSession('aws', SESSION, live()), UNREACHABLE)
  t.strictSame([server.seen.length, pauses], [1, []])
})

await test('whoever goes away ends the call', async (t) => {
  const gone = new AbortController()
  const server = await scriptedServer(t, () => gone.abort())
  t.strictSame(await clientOf(server.url.href).client.createSession('aws', SESSION, gone.signal), UNREACHABLE)
  t.equal(server.seen.length, 1)
})
