/** The calls that load tests of the webhook make: through the API server, and as the API server makes them. */
import https from 'node:https'
import type { Test } from 'tap'
import type { ControlPlane } from '../../hack/control-plane/start.ts'
import { ANNOTATION, API_VERSION } from '../../src/api/names.ts'
import { MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS } from '../../src/kube/resources.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { call, type Reply } from '../webhooks/sockets.ts'
import { eventually } from './eventually.ts'
import { WEBHOOK_HOST } from './webhook-service.ts'

const SPEC = {
  subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
  connectorRef: { name: 'harbor' },
  context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build', namespace: 'cicd' } },
}
const requestNamed = (name: string): object => ({ apiVersion: API_VERSION, kind: 'AccessRequest', metadata: { name }, spec: SPEC })

/** Both hooks of requests, mutating and validating, answer one of these. */
export const ADMISSIONS_A_CREATE = 2

/**
 * Dry runs of creating an AccessRequest, over kept connections of their own to the API server.
 * @returns a call for startLoad
 */
export const throughApiServer = (t: Pick<Test, 'teardown'>, cluster: ControlPlane, namespace: string) => {
  const agent = new https.Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const at = {
    port: Number(new URL(cluster.server).port),
    servername: 'localhost',
    ca: cluster.caPem,
    agent,
    path: `/apis/${API_VERSION}/namespaces/${namespace}/accessrequests?dryRun=All`,
    headers: { authorization: `Bearer ${cluster.description.adminToken}` },
  }
  return async (caller: number, turn: number): Promise<string | undefined> => {
    const { status, body } = await call({ ...at, body: JSON.stringify(requestNamed(`load-${caller}-${turn}`)) })
    // Who asked is what the mutating hook writes; the validating one is asked by failurePolicy Fail.
    return status === 201 && body.includes(ANNOTATION.requestedBy) ? undefined : `${status} ${body}`
  }
}

/** As long as an API server can be told to wait. */
const PATIENCE_SECONDS = 30

/** The API server waits for our hooks for longer than the shipped manifests say: how fast a busy machine is under load is not what is asked. To be called while no replica renews its certificate. */
export const waitForHooks = async (kube: KubeClient): Promise<void> => {
  for (const resource of [MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS]) {
    const configuration = await kube.get(resource, undefined, 'access-gate')
    if (configuration === undefined) throw new Error(`there is no ${resource.kind}`)
    const webhooks = (configuration.webhooks ?? []).map((webhook) => ({ ...webhook, timeoutSeconds: PATIENCE_SECONDS }))
    await kube.replace(resource, { ...configuration, webhooks })
  }
}

/** Waits until the API server reaches the webhook; the first calls may come before its Service or its CA. */
export const untilAnswered = async (create: (caller: number, turn: number) => Promise<string | undefined>): Promise<void> => {
  let last: string | undefined
  await eventually(
    'the API server reaches the webhook',
    async () => {
      last = await create(0, 0).catch(String)
      return last === undefined ? true : undefined
    },
    60_000,
    () => last,
  )
}

const REVIEW = JSON.stringify({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: { uid: '705ab4f5-6393-11e8-b7cc-42010a800002', operation: 'CREATE', namespace: 'shared', userInfo: { username: 'alice' }, object: { ...requestNamed('load'), metadata: { name: 'load', namespace: 'shared' } } },
})

/** One question to the validating hook. @param ca what the caller trusts at this moment */
export const askDirectly = (port: number, ca: string, agent?: https.Agent): Promise<Reply> =>
  call({ port, ca, servername: WEBHOOK_HOST, path: '/validate/access-request?timeout=5s', body: REVIEW, ...(agent === undefined ? {} : { agent }) })

export interface KeptConnections {
  /** One for each caller, each with one connection. */
  readonly agents: readonly https.Agent[]
  /** How many connections were opened so far: as many as callers for as long as each keeps its first. */
  readonly opened: number
}

export const keepConnections = (t: Pick<Test, 'teardown'>, callers: number): KeptConnections => {
  let opened = 0
  const agents = Array.from({ length: callers }, () => {
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
    const connect = agent.createConnection.bind(agent)
    agent.createConnection = (...options) => {
      opened += 1
      return connect(...options)
    }
    return agent
  })
  t.teardown(() => agents.forEach((agent) => agent.destroy()))
  return {
    agents,
    get opened() {
      return opened
    },
  }
}

export const wrongIn = ({ status, body }: Reply): string | undefined => (status === 200 && body.includes('"allowed":true') ? undefined : `${status} ${body}`)

/** What the API server trusts: the caBundle of the webhook configuration. */
export const readCaBundle = async (kube: KubeClient): Promise<string> => {
  const configuration = await kube.get(VALIDATING_WEBHOOK_CONFIGURATIONS, undefined, 'access-gate')
  return Buffer.from(configuration?.webhooks?.[0]?.clientConfig.caBundle ?? '', 'base64').toString('utf8')
}
