/**
 * What the Pod hooks cost at the very least: node:https with the same calls of the API server (the flags and the review of the Pod's own
 * path at once, with them once a second the Connector and, for each ServiceAccount, the two reviews that are the same for all its Pods; then the request),
 * nothing decided and nothing checked. A program of its own; one argument: the file with its settings (JSON).
 */
import { readFileSync } from 'node:fs'
import { Agent, createServer, request as httpsRequest } from 'node:https'

interface Settings {
  port: number
  certFile: string
  keyFile: string
  /** The patch of every mutating answer. */
  patch: unknown
  server: string
  caPem: string
  token: string
  connector: { namespace: string; name: string }
}

interface Review {
  request: { uid: string; name: string; namespace: string; userInfo: { username: string }; object: { metadata: { uid: string }; spec: { serviceAccountName: string } } }
}

const { port, certFile, keyFile, patch, server, caPem, token, connector }: Settings = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
const GROUP = 'connectors.alauda.io'
const agent = new Agent({ keepAlive: true, maxSockets: 100, ca: caPem })
const { hostname, port: apiPort } = new URL(server)

const call = (method: string, path: string, object?: object): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const body = object === undefined ? undefined : JSON.stringify(object)
    const headers = { accept: 'application/json', authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }) }
    const asked = httpsRequest({ method, hostname, port: apiPort, path, agent, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      response.on('end', () => ((response.statusCode ?? 500) < 300 ? resolve(JSON.parse(text)) : reject(new Error(text))))
    })
    asked.on('error', reject)
    asked.end(body)
  })

const mayI = (user: string, namespace: string, verb: string, subresource?: string): Promise<unknown> =>
  call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
      resourceAttributes: { group: GROUP, resource: 'connectors', subresource, verb, ...connector },
    },
  })

const KEEP_MS = 1_000
const keptUntil = new Map<string, number>()

/** @returns whether it was not asked within the last second */
const isDue = (question: string): boolean => {
  const now = performance.now()
  if (now < (keptUntil.get(question) ?? 0)) return false
  keptUntil.set(question, now + KEEP_MS)
  return true
}

/** What is the same for all Pods of a ServiceAccount. */
const askShared = (user: string, namespace: string): Promise<unknown>[] => [
  ...(isDue('exists') ? [call('GET', `/apis/${GROUP}/v1alpha1/namespaces/${connector.namespace}/connectors/${connector.name}`)] : []),
  ...(isDue(user) ? [mayI(user, namespace, 'get'), mayI(user, namespace, '*', 'proxy')] : []),
]

const admit = async ({ request: { name, namespace, userInfo, object } }: Review): Promise<void> => {
  const account = object.spec.serviceAccountName
  const user = `system:serviceaccount:${namespace}:${account}`
  await Promise.all([
    call('GET', '/api/v1/namespaces/connectors-system/configmaps/connectors-config'),
    ...askShared(user, namespace),
    mayI(user, namespace, '*', `proxy/v1/pod/${namespace}/${name}`),
  ])
  const { uid } = object.metadata
  const labels = {
    'connectors.cpaas.io/contextObjectKind': 'Pod',
    'connectors.cpaas.io/contextObjectName': name,
    'connectors.cpaas.io/contextObjectNamespace': namespace,
    'connectors.cpaas.io/connector': connector.name,
  }
  await call('POST', `/apis/${GROUP}/v1alpha1/namespaces/${connector.namespace}/accessrequests`, {
    apiVersion: `${GROUP}/v1alpha1`,
    kind: 'AccessRequest',
    metadata: { name: `bare-${uid}`, namespace: connector.namespace, labels, finalizers: ['connectors.alauda.io/access-cleanup'], annotations: { 'connectors.alauda.io/requested-by': userInfo.username } },
    spec: { subject: { kind: 'ServiceAccount', name: account, namespace }, connectorRef: { name: connector.name }, context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name, namespace, uid } } },
  })
}

const webhook = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2', keepAliveTimeout: 120_000 }, (request, response) => {
  let text = ''
  request.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  const reply = (status: number, object: object): void => {
    const body = JSON.stringify(object)
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    response.end(body)
  }
  const answer = (uid: string, more: object): void => reply(200, { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid, allowed: true, ...more } })
  request.on('end', () => {
    const review: Review = JSON.parse(text)
    const { uid } = review.request
    if (request.url?.startsWith('/mutate/') === true) answer(uid, { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') })
    else admit(review).then(() => answer(uid, {}), (error: unknown) => reply(500, { error: String(error) }))
  })
})
webhook.listen(port, '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
