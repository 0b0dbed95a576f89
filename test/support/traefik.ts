/** Traefik with the objects of the documentation, read from a real API server, in front of a test's own auth and Workspaces. */
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import type { Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { startGuard } from '../../hack/control-plane/programs-under-guard.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { ROOT } from '../../hack/project.ts'
import { applyTraefikDefinitions, traefikProgram } from '../../hack/traefik/traefik.ts'
import { isRecord } from '../../src/core/json-shape.ts'
import { call } from '../extension/certificates.ts'
import { untilTrue } from './eventually.ts'
import { WEB_NAME, type NginxPlaces, type RunningNginx } from './nginx.ts'

const LOOPBACK = '127.0.0.1'
const AUTH_ADDRESS = 'http://access-gate-auth.connectors-system.svc/'

interface Ports {
  auth: number
  upstream: number
}

/** The port of a Service and the address of auth, which no name of this machine leads to; nothing else is changed. */
const placed = (example: string, { auth, upstream }: Ports): unknown[] => {
  const ports: ReadonlyMap<unknown, number> = new Map([['access-gate-auth', auth], ['workspaces-router', upstream]])
  const place = (_key: string, value: unknown): unknown => {
    if (typeof value === 'string') return value.replace(AUTH_ADDRESS, `http://${LOOPBACK}:${auth}/`)
    return isRecord(value) && value['port'] === 80 ? { ...value, port: ports.get(value['name']) } : value
  }
  return parseAllDocuments(example).map((document): unknown => JSON.parse(JSON.stringify(document.toJS()), place))
}

const namespace = (name: string): object => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })

/** EndpointSlices cannot hold addresses of the loopback; the external name of a Service can. */
const service = (namespaceName: string, name: string, port: number): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: namespaceName },
  spec: { type: 'ExternalName', externalName: LOOPBACK, ports: [{ port }] },
})

const tlsSecret = async (): Promise<object> => {
  const { cert, private: key } = await generate([{ name: 'commonName', value: WEB_NAME }], { keyType: 'ec', algorithm: 'sha256' })
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'workspaces-tls', namespace: 'workspaces' }, type: 'kubernetes.io/tls', stringData: { 'tls.crt': cert, 'tls.key': key } }
}

/** It ends with the test, or with this process, however that goes, and so does its control plane. It has one log. */
export const startTraefik = async (t: Pick<Test, 'teardown'>, { held, authPorts: [auth = 0], upstreamPort: upstream }: NginxPlaces): Promise<RunningNginx> => {
  const cluster = await startControlPlane({ log: () => undefined })
  t.teardown(() => cluster.stop())
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-test-traefik-'))
  const guard = startGuard({ removeAtEnd: folder, graceMs: 5_000 })
  t.teardown(() => guard.close())
  const program = await traefikProgram()
  await applyTraefikDefinitions(cluster)
  const shipped = placed(await readFile(join(ROOT, 'docs/examples/traefik-forward-auth.yaml'), 'utf8'), { auth, upstream })
  const around = [namespace('workspaces'), namespace('connectors-system'), await tlsSecret(), service('connectors-system', 'access-gate-auth', auth), service('workspaces', 'workspaces-router', upstream)]
  await cluster.kubectl(['apply', '--validate=strict', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [...around, ...shipped] }) })

  const logFile = join(folder, 'output.log')
  const log = (): Promise<string> => readFile(logFile, 'utf8')
  await held.release()
  await guard.start({ name: 'traefik', command: program, args: [`--address=${LOOPBACK}:${held.port}`, `--kubeconfig=${cluster.adminKubeconfig}`], cwd: folder, logFile })
  await untilTrue('Traefik knows the routes', async () => {
    const ended = guard.exitOf('traefik')
    if (ended !== undefined) throw new Error(`Traefik ended at its start (${ended}): ${await log()}`)
    const reply = await call({ port: held.port, path: '/callback', headers: { host: WEB_NAME } }).catch(() => undefined)
    return reply !== undefined && reply.code !== 404
  })
  return { errorLog: log, accessLog: log }
}
