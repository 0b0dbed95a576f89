import { writeFile } from 'node:fs/promises'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { stringify } from 'yaml'
import { createClient, type ClientOptions, type KubeClient } from '../../src/kube/client.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'
import { fakeTime } from '../support/fake-time.ts'
import { answer, scriptedServer } from '../support/scripted-server.ts'
import { status } from '../support/status.ts'

const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'ns' } }

const kubeconfig = (server: string, user: object, name = 'test'): object => ({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name, cluster: { server, 'insecure-skip-tls-verify': true } }],
  users: [{ name, user }],
  contexts: [{ name, context: { cluster: name, user: name } }],
  'current-context': name,
})

const write = async (t: Test, files: Record<string, object | string>): Promise<string> => {
  const folder = t.testdir({})
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), typeof content === 'string' ? content : stringify(content))
  return folder
}
const client = async (t: Test, options: Partial<ClientOptions>): Promise<KubeClient> => {
  const made = await createClient({ userAgent: 'access-gate-test', ...options })
  t.teardown(() => made.close())
  return made
}

await test('without any configuration it says what to do', async (t) => {
  await t.rejects(createClient({ userAgent: 'x' }), {
    code: 'CONFIG_INVALID',
    message: 'there is neither a kubeconfig nor a ServiceAccount of a Pod to reach Kubernetes with; give --kubeconfig, or run it in a Pod',
  })
})

await test('a kubeconfig that cannot be used is refused in one sentence that quotes nothing of it', async (t) => {
  const folder = await write(t, {
    'broken.yaml': 'users:\n- name: x\n  user: {token: secret-token\n',
    'text.yaml': 'just text',
    'no-server.yaml': kubeconfig('', {}),
    'odd-server.yaml': kubeconfig('ftp://x', {}),
    'good.yaml': kubeconfig('http://127.0.0.1:1', {}),
    'no-context.yaml': { ...kubeconfig('http://127.0.0.1:1', {}), 'current-context': undefined },
  })
  const cases: Record<string, { options: Partial<ClientOptions>; message: string | RegExp }> = {
    'a file that is not there': { options: { kubeconfig: join(folder, 'none.yaml') }, message: `the kubeconfig ${join(folder, 'none.yaml')} cannot be read (ENOENT); give the path of one that can` },
    'broken YAML': { options: { kubeconfig: join(folder, 'broken.yaml') }, message: `${join(folder, 'broken.yaml')} is no kubeconfig` },
    'no YAML object': { options: { kubeconfig: join(folder, 'text.yaml') }, message: /has no context ""; it has: none$|is no kubeconfig$/ },
    'a cluster without a server': { options: { kubeconfig: join(folder, 'no-server.yaml') }, message: /no usable server address; got ""$|is no kubeconfig$/ },
    'a server of another protocol': { options: { kubeconfig: join(folder, 'odd-server.yaml') }, message: 'the kubeconfig\'s cluster has no usable server address; got "ftp://x"' },
    'an unknown context': { options: { kubeconfig: join(folder, 'good.yaml'), context: 'other' }, message: `the kubeconfig ${join(folder, 'good.yaml')} has no context "other"; it has: test` },
    'no current context': { options: { kubeconfig: join(folder, 'no-context.yaml') }, message: `the kubeconfig ${join(folder, 'no-context.yaml')} has no context ""; it has: test` },
    'the same names twice': { options: { kubeconfig: `${join(folder, 'good.yaml')}:${join(folder, 'good.yaml')}` }, message: /cannot be joined with .*: Duplicate cluster: test$/ },
  }
  for (const [sentence, { options, message }] of Object.entries(cases)) await t.rejects(createClient({ userAgent: 'x', ...options }), { code: 'CONFIG_INVALID', message }, sentence)
})

await test('each kind of user is who he is to the server', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, configMap))
  const folder = await write(t, {
    'token.txt': 'from-file\n',
    'static.yaml': kubeconfig(server.url.href, { token: 'from-config' }),
    'file.yaml': kubeconfig(server.url.href, { tokenFile: 'token.txt', token: 'outdated' }),
    'basic.yaml': kubeconfig(server.url.href, { username: 'me', password: 'mine' }),
    'as.yaml': kubeconfig(server.url.href, { token: 't', as: 'other' }),
    'nobody.yaml': kubeconfig(server.url.href, {}),
    'exec.yaml': kubeconfig(server.url.href, {
      exec: { apiVersion: 'client.authentication.k8s.io/v1', command: process.execPath, args: ['-e', 'console.log(JSON.stringify({ status: { token: "from-plugin" } }))'] },
    }),
  })
  for (const name of ['static', 'file', 'basic', 'as', 'nobody', 'exec']) t.match(await (await client(t, { kubeconfig: join(folder, `${name}.yaml`) })).get(CONFIG_MAPS, 'ns', 'a'), configMap, name)
  t.same(
    server.seen.map(({ headers }) => [headers.authorization, headers['impersonate-user']]),
    [
      ['Bearer from-config', undefined],
      ['Bearer from-file', undefined],
      ['Basic bWU6bWluZQ==', undefined],
      ['Bearer t', 'other'],
      [undefined, undefined],
      ['Bearer from-plugin', undefined],
    ],
  )
})

await test('a token file that is written anew is read after a 401, and that call succeeds', async (t) => {
  const server = await scriptedServer(t, ({ headers }, response) =>
    headers.authorization === `Bearer ${valid}` ? answer(response, 200, configMap) : answer(response, 401, status(401, 'Unauthorized', 'Unauthorized')),
  )
  let valid = 'first'
  const folder = await write(t, { token: 'first', 'kubeconfig.yaml': kubeconfig(server.url.href, { tokenFile: 'token' }) })
  const time = fakeTime()
  const kube = await client(t, { kubeconfig: join(folder, 'kubeconfig.yaml'), timers: time.timers })
  t.match(await kube.get(CONFIG_MAPS, 'ns', 'a'), configMap)
  valid = 'second'
  await writeFile(join(folder, 'token'), 'second\n')
  t.match(await kube.get(CONFIG_MAPS, 'ns', 'a'), configMap)
  t.same(
    server.seen.map(({ headers }) => headers.authorization),
    ['Bearer first', 'Bearer first', 'Bearer second'],
  )
})

await test('several kubeconfigs are one, the first one\'s current context counts', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, configMap))
  const folder = await write(t, { 'one.yaml': kubeconfig('http://127.0.0.1:1', { token: 'one' }, 'one'), 'two.yaml': kubeconfig(server.url.href, { token: 'two' }, 'two') })
  const both = `${join(folder, 'one.yaml')}:${join(folder, 'two.yaml')}`
  t.equal((await client(t, { kubeconfig: both })).server, 'http://127.0.0.1:1/')
  const kube = await client(t, { kubeconfig: both, context: 'two' })
  await kube.get(CONFIG_MAPS, 'ns', 'a')
  t.match(server.seen, [{ headers: { authorization: 'Bearer two' } }])
})

await test('of several kubeconfigs the first that names a current context has its way', async (t) => {
  const nameless = { ...kubeconfig('http://127.0.0.1:1', {}, 'one'), 'current-context': undefined }
  const folder = await write(t, { 'one.yaml': nameless, 'two.yaml': kubeconfig('http://127.0.0.1:2', {}, 'two'), 'three.yaml': kubeconfig('http://127.0.0.1:3', {}, 'three') })
  const files = ['one.yaml', 'two.yaml', 'three.yaml'].map((name) => join(folder, name)).join(':')
  t.equal((await client(t, { kubeconfig: files })).server, 'http://127.0.0.1:2/')
})

await test('a plugin that fails is told without what it said', async (t) => {
  const folder = await write(t, {
    'exec.yaml': kubeconfig('http://127.0.0.1:1', { exec: { command: process.execPath, args: ['-e', 'console.error("token: secret"); process.exit(1)'] } }),
  })
  await t.rejects((await client(t, { kubeconfig: join(folder, 'exec.yaml') })).get(CONFIG_MAPS, 'ns', 'a'), {
    code: 'KUBE_UNAVAILABLE',
    message: 'the credentials could not be had (no usable answer); look at the token file or the plugin that the kubeconfig names',
  })
})

await test('a proxy that the kubeconfig names is used', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, configMap))
  const asked: string[] = []
  const proxy = http.createServer()
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '')
    const onward = net.connect(Number(server.url.port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
    onward.on('error', () => socket.destroy())
    socket.on('error', () => onward.destroy())
  })
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => proxy.close())
  const { port } = proxy.address() as AddressInfo
  const cluster = { server: 'http://api.access-gate.test', 'insecure-skip-tls-verify': true, 'proxy-url': `http://127.0.0.1:${port}` }
  const folder = await write(t, { 'proxy.yaml': { ...kubeconfig('', { token: 't' }), clusters: [{ name: 'test', cluster }] } })
  t.match(await (await client(t, { kubeconfig: join(folder, 'proxy.yaml') })).get(CONFIG_MAPS, 'ns', 'a'), configMap)
  t.same([asked, server.seen.length], [['api.access-gate.test:80'], 1])
})
