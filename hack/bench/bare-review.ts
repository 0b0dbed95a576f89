/**
 * What a ConnectionAccessReview costs on Node at the very least: node:https with the same two calls of the API server, nobody
 * authenticated, nothing checked, no log, no metrics. A program of its own; one argument: the file with its settings (JSON).
 */
import { readFileSync } from 'node:fs'
import { Agent, createServer, request as httpsRequest } from 'node:https'

interface Settings {
  port: number
  certFile: string
  keyFile: string
  server: string
  caPem: string
  token: string
  /** Of the two calls. */
  subjectReviewsPath: string
  workspacePath: string
  resourceAttributes: object
}

interface Review {
  metadata: object
  spec: { user: string; groups: string[]; uid: string }
}

const settings: Settings = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
const agent = new Agent({ keepAlive: true, maxSockets: 100, ca: settings.caPem })
const { hostname, port } = new URL(settings.server)

const call = <T>(method: string, path: string, object?: object): Promise<T> =>
  new Promise((resolve, reject) => {
    const body = object === undefined ? undefined : JSON.stringify(object)
    const about = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const asked = httpsRequest({ method, hostname, port, path, agent, headers: { accept: 'application/json', authorization: `Bearer ${settings.token}`, ...about } }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      response.on('end', () => ((response.statusCode ?? 500) < 300 ? resolve(JSON.parse(text)) : reject(new Error(text))))
    })
    asked.on('error', reject)
    asked.end(body)
  })

const decide = async (review: Review): Promise<object> => {
  const { user, groups, uid } = review.spec
  const { resourceAttributes, subjectReviewsPath, workspacePath } = settings
  const asked = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec: { user, groups, uid, resourceAttributes } }
  const { status } = await call<{ status: { allowed: boolean } }>('POST', subjectReviewsPath, asked)
  const { spec } = await call<{ spec: { accessType: string } }>('GET', workspacePath)
  return { ...review, status: { allowed: status.allowed && spec.accessType === 'Public', notFound: false, reason: '' } }
}

const server = createServer({ cert: readFileSync(settings.certFile), key: readFileSync(settings.keyFile), minVersion: 'TLSv1.2', keepAliveTimeout: 120_000 }, (request, response) => {
  let text = ''
  const reply = (status: number, object: object): void => {
    const body = JSON.stringify(object)
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    response.end(body)
  }
  request.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  request.on('end', () => {
    const review: Review = JSON.parse(text)
    decide(review).then((answer) => reply(201, answer), (error: unknown) => reply(500, { error: String(error) }))
  })
})
server.listen(settings.port, '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
