/** nginx as it is shipped by Debian, with the configuration of the documentation in front of a test's own auth and Workspaces. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import type { Test } from 'tap'
import { startGuard } from '../../hack/control-plane/programs-under-guard.ts'
import { ROOT } from '../../hack/project.ts'
import { webPrograms } from '../../hack/test-run/web-programs.ts'
import { untilTrue } from './eventually.ts'

const LOOPBACK = '127.0.0.1'
/** By what names a Workspace. */
const EXAMPLES = { path: 'nginx-forward-auth.conf', subdomain: 'nginx-forward-auth-subdomains.conf' } as const
export const WEB_NAME = 'workspaces.example.com'

/** A port that nobody else gets meanwhile: others must know it before nginx can start. */
export interface HeldPort {
  port: number
  release(): Promise<void>
}

export const holdPort = async (t: Pick<Test, 'teardown'>): Promise<HeldPort> => {
  const server = createServer()
  server.listen(0, LOOPBACK)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  const release = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    await once(server, 'close')
  }
  t.teardown(release)
  return { port: address.port, release }
}

export interface NginxOptions {
  /** Default: path. */
  example?: keyof typeof EXAMPLES
  /** Browsers may speak HTTP/2 to it. */
  http2?: boolean
}

export interface NginxPlaces extends NginxOptions {
  held: HeldPort
  /** Of every replica of auth. */
  authPorts: readonly number[]
  /** Of what leads to all Workspaces. */
  upstreamPort: number
}

export interface RunningNginx {
  /** What it complained of. */
  errorLog(): Promise<string>
  accessLog(): Promise<string>
}

const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/** What a machine's own nginx.conf is around the example; everything that is written goes to the folder. */
const mainConfig = (folder: string): string => `
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 2;
worker_rlimit_nofile 8192;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log warn;
events { worker_connections 4096; }
http {
${TEMPORARY.map((name) => `  ${name}_temp_path ${folder}/${name};`).join('\n')}
  include ${folder}/example.conf;
}
`

/** The places that a reader of the example has to change, and nothing else. @throws Error when one is not there exactly once */
const placed = (example: string, folder: string, { held: { port }, authPorts, upstreamPort, http2 = false }: NginxPlaces): string => {
  const places: Record<string, string> = {
    'server access-gate-auth.connectors-system.svc:80 max_fails=0;': authPorts.map((authPort) => `server ${LOOPBACK}:${authPort} max_fails=0;`).join('\n    '),
    'server workspaces-router.example.svc:80;': `server ${LOOPBACK}:${upstreamPort};`,
    'listen 0.0.0.0:443 ssl;': `listen ${LOOPBACK}:${port} ssl${http2 ? ' http2' : ''} backlog=2048;`,
    '/etc/nginx/tls/tls.crt': `${folder}/tls.crt`,
    '/etc/nginx/tls/tls.key': `${folder}/tls.key`,
    '/var/log/nginx/workspaces.log': `${folder}/access.log`,
  }
  return Object.entries(places).reduce((text, [from, to]) => {
    if (text.split(from).length !== 2) throw new Error(`the example for nginx does not hold exactly once: ${from}`)
    return text.replace(from, () => to)
  }, example)
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: LOOPBACK, port })
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

/** It ends with the test, or with this process, however that goes; its folder goes with it. */
export const startNginx = async (t: Pick<Test, 'teardown'>, places: NginxPlaces): Promise<RunningNginx> => {
  const { nginx } = webPrograms()
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-test-nginx-'))
  const guard = startGuard({ removeAtEnd: folder, graceMs: 5_000 })
  t.teardown(() => guard.close())
  const { cert, private: key } = await generate([{ name: 'commonName', value: WEB_NAME }], { keyType: 'ec', algorithm: 'sha256' })
  const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text, { mode: 0o600 })
  await write('tls.crt', cert)
  await write('tls.key', key)
  await write('example.conf', placed(await readFile(join(ROOT, 'docs/examples', EXAMPLES[places.example ?? 'path']), 'utf8'), folder, places))
  await write('nginx.conf', mainConfig(folder))
  const log = (name: string): Promise<string> => readFile(join(folder, name), 'utf8')
  const args = ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log'), '-g', 'daemon off;']
  await places.held.release()
  await guard.start({ name: 'nginx', command: nginx, args, cwd: folder, logFile: join(folder, 'output.log') })
  await untilTrue('nginx listens', async () => {
    const ended = guard.exitOf('nginx')
    if (ended !== undefined) throw new Error(`nginx ended at its start (${ended}): ${await log('error.log')}`)
    return answers(places.held.port)
  })
  return { errorLog: () => log('error.log'), accessLog: () => log('access.log') }
}
