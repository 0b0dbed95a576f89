/**
 * The extension behind a real API server, with the rights of its own account, and people who ask it: through the API server, or past it.
 * On a control plane of the test file's own: where others share one, an APIService that nobody answers for any more would hold up their
 * namespaces.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { parse } from 'yaml'
import { freePort } from '../../hack/control-plane/free-port.ts'
import { startControlPlane, type ControlPlane } from '../../hack/control-plane/start.ts'
import { applyConnectionManifests } from '../../hack/sandbox/manifests.ts'
import { clientFor } from '../../hack/sandbox/sandbox.ts'
import { SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { DEFAULT_EXTENSION_OPTIONS, type ExtensionOptions } from '../../src/extension/options.ts'
import { runExtension, type RunningExtension } from '../../src/extension/role.ts'
import { createClient, type KubeClient } from '../../src/kube/client.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { call, type Authority, type ClientCertificate } from '../extension/certificates.ts'
import { untilTrue } from './eventually.ts'
import { logLines, type LogLines } from './log-lines.ts'

type Ending = Pick<Test, 'teardown'>

const LOOPBACK = '127.0.0.1'
export const CONNECTION_API = '/apis/connection.workspace.jupyter.org/v1alpha1'
export const CONNECTOR_API = '/apis/access.connectors.alauda.io/v1alpha1'

/** Somebody, as authentication knows him; the API server adds the group system:authenticated. */
export interface Person {
  user: string
  groups?: readonly string[]
  uid?: string
  extra?: Readonly<Record<string, readonly string[]>>
}

export interface Asked {
  path: string
  /** Default POST. */
  method?: string
  /** An object is sent as JSON. */
  body?: object | string
  headers?: Readonly<Record<string, string>>
}

export interface Answered {
  code: number
  headers: Record<string, string | string[] | undefined>
  text: string
  /** Of JSON and YAML; undefined for all else. */
  body: unknown
}

/** The account that auth asks with, and with it the rights of whoever decides about others. */
export const AUTH_ACCOUNT: Person = {
  user: serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.auth),
  groups: ['system:serviceaccounts', `system:serviceaccounts:${SYSTEM_NAMESPACE}`],
}

const identityHeaders = (prefix: 'Impersonate' | 'X-Remote', { user, groups = [], uid, extra = {} }: Person): Record<string, string | string[]> => ({
  [`${prefix}-User`]: user,
  ...(groups.length === 0 ? {} : { [`${prefix}-Group`]: [...groups] }),
  ...(uid === undefined ? {} : { [`${prefix}-Uid`]: uid }),
  ...Object.fromEntries(Object.entries(extra).map(([key, values]) => [`${prefix}-Extra-${encodeURIComponent(key)}`, [...values]])),
})

const read = (text: string, contentType: string): unknown => {
  if (text === '') return undefined
  if (contentType.startsWith('application/json')) return JSON.parse(text)
  return contentType.startsWith('application/yaml') ? parse(text) : undefined
}

const ask = async (port: number, asked: Asked, identity: Record<string, string | string[]>, client: ClientCertificate | null): Promise<Answered> => {
  const { path, method = 'POST', body, headers = {} } = asked
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const reply = await call({
    port,
    path,
    method,
    client,
    headers: { ...identity, accept: 'application/json', ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }), ...headers },
    ...(text === undefined ? {} : { body: text }),
  })
  return { code: reply.code, headers: reply.headers, text: reply.body, body: read(reply.body, String(reply.headers['content-type'] ?? '')) }
}

/** Asks the API server, which knows the person as it would by his own credentials. */
export const askThrough = (cluster: Pick<ControlPlane, 'server' | 'description'>, person: Person, asked: Asked): Promise<Answered> =>
  ask(Number(new URL(cluster.server).port), asked, { ...identityHeaders('Impersonate', person), authorization: `Bearer ${cluster.description.adminToken}` }, null)

/** The CA of the front proxy with its key: whoever has it decides who everybody is. */
export const frontProxyAuthority = async ({ requestHeader, description }: ControlPlane): Promise<Authority> => ({
  cert: requestHeader.caPem,
  key: await readFile(join(description.workDir, 'pki', 'request-header-ca.key'), 'utf8'),
})

export interface StartedExtension {
  running: RunningExtension
  log: LogLines
  /** Past the API server. @param client default: the front proxy's own; null: none is shown */
  direct: (person: Person, asked: Asked, client?: ClientCertificate | null) => Promise<Answered>
}

/** One replica in this process, with the token of its own account. @returns once it is ready; whether it is healthy is not waited for */
export const startExtension = async (t: Ending, cluster: ControlPlane, options: Partial<ExtensionOptions> & { port: number }): Promise<StartedExtension> => {
  const kube = await clientFor(cluster, SERVICE_ACCOUNT.extension)
  t.teardown(() => kube.close())
  const log = logLines()
  const running = await runExtension(
    { ...DEFAULT_EXTENSION_OPTIONS, host: LOOPBACK, metricsHost: LOOPBACK, metricsPort: 0, drainMs: 0, bundleMs: 1_000, ...options },
    { reader: kube, writer: kube, watcher: kube, permission: kube },
    { logger: log.log, clock: systemClock },
  )
  t.teardown(() => running.stop())
  await running.ready
  const { clientCertPem, clientKeyPem } = cluster.requestHeader
  const frontProxy = { cert: clientCertPem, key: clientKeyPem }
  return { running, log, direct: (person, asked, client = frontProxy) => ask(running.port, asked, identityHeaders('X-Remote', person), client) }
}

/**
 * Until the API server serves both groups, or knows that nobody answers for them. It looks when the endpoints of their Service change, and
 * twice a minute; here the Service has no endpoints, and a change of the APIServices makes it look as well.
 */
export const untilAvailable = (cluster: Pick<ControlPlane, 'kubectl'>, available: 'True' | 'False' = 'True'): Promise<void> => {
  const names = ['apiservice', ...DEFAULT_EXTENSION_OPTIONS.apiServiceNames]
  return untilTrue(`the API server has seen Available=${available}`, async () => {
    await cluster.kubectl(['annotate', ...names, `example.com/look=${performance.now()}`, '--overwrite'])
    return (await cluster.kubectl(['wait', ...names, `--for=condition=Available=${available}`, '--timeout=1s'], { allowFailure: true })).code === 0
  })
}

export interface ExtensionWorld extends StartedExtension {
  cluster: ControlPlane
  /** As the administrator. */
  kube: KubeClient
  through: (person: Person, asked: Asked) => Promise<Answered>
}

export interface ExtensionWorldOptions {
  /** Left out: one of the world's own, in which nothing of access-gate is but the extension and auth's rights. */
  cluster?: ControlPlane
  options?: Partial<ExtensionOptions>
}

const bareControlPlane = async (t: Ending): Promise<ControlPlane> => {
  const cluster = await startControlPlane({ log: () => undefined, apiServerOptions: ['--requestheader-uid-headers=X-Remote-Uid'] })
  t.teardown(() => cluster.stop())
  await cluster.kubectl(['create', 'namespace', SYSTEM_NAMESPACE])
  return cluster
}

/** Everything is stopped at the end of the file. */
export const extensionWorld = async (t: Ending, { cluster: given, options = {} }: ExtensionWorldOptions = {}): Promise<ExtensionWorld> => {
  const cluster = given ?? (await bareControlPlane(t))
  const kube = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'access-gate-test' })
  t.teardown(() => kube.close())
  const port = await freePort()
  await applyConnectionManifests(cluster, port)
  const started = await startExtension(t, cluster, { port, ...options })
  await untilAvailable(cluster)
  return { ...started, cluster, kube, through: (person, asked) => askThrough(cluster, person, asked) }
}
