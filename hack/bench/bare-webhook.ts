/**
 * What an admission webhook on Node costs at the very least: node:https, JSON.parse, an answer. No framework, no metrics, no log,
 * nothing is looked at but the uid. A program of its own; arguments: port, certificate file, key file, the patch (JSON).
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'

const [port, certFile = '', keyFile = '', patchJson = '[]'] = process.argv.slice(2)
const patch: unknown = JSON.parse(patchJson)

const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2', keepAliveTimeout: 120_000 }, (request, response) => {
  let text = ''
  request.setEncoding('utf8')
  request.on('data', (piece: string) => {
    text += piece
  })
  request.on('end', () => {
    const review: { request: { uid: string } } = JSON.parse(text)
    const { uid } = review.request
    const isMutate = request.url?.startsWith('/mutate/') === true
    const answer = isMutate ? { uid, allowed: true, patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') } : { uid, allowed: true }
    const body = JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer })
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    response.end(body)
  })
})
server.listen(Number(port), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
