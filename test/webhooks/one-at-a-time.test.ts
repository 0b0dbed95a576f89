import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import tls from 'node:tls'
import { test } from 'tap'
import { systemClock } from '../../src/kube/timers.ts'
import { createMaterial } from '../../src/serving/certificate.ts'
import { DEFAULT_WEBHOOK_OPTIONS } from '../../webhooks/options.ts'
import { runWebhook } from '../../webhooks/role.ts'
import { untilTrue } from '../support/eventually.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube } from '../support/memory-kube.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { review, turnFlags } from './harness.ts'
import { SERVER_NAME } from './sockets.ts'

const LOOPBACK = '127.0.0.1'
const material = await createMaterial([SERVER_NAME], Date.now())

const post = (path: string, body: object): string => {
  const text = JSON.stringify(body)
  return `POST ${path} HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
}
const POD = post(
  '/validate/pod',
  review({
    namespace: 'cicd',
    object: {
      metadata: { name: 'p', namespace: 'cicd', uid: 'u' },
      spec: { volumes: [{ name: 'v', csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors: 'shared/harbor' } } }] },
    },
  }),
)
const ANSWERED = /"allowed":true/g

await test('on one connection the next question waits for the answer to the one before; who does not wait is cut off', async (t) => {
  const folder = await temporaryFolder(t)
  const certificate = { kind: 'files' as const, certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') }
  await writeFile(certificate.certFile, material.leaf.cert)
  await writeFile(certificate.keyFile, material.leaf.key)
  const kube = memoryKube()
  turnFlags(kube)
  const running = await runWebhook(
    { ...DEFAULT_WEBHOOK_OPTIONS, host: LOOPBACK, port: 0, metricsHost: LOOPBACK, metricsPort: 0, drainMs: 0, certificate },
    { reader: kube, writer: kube, permission: kube },
    { logger: logLines().log, clock: systemClock },
  )
  t.teardown(() => running.stop())
  const connect = async (): Promise<{ socket: tls.TLSSocket; text: () => string; closed: Promise<unknown> }> => {
    const socket = tls.connect({ host: LOOPBACK, port: running.port, ca: material.caBundle, servername: SERVER_NAME })
    t.teardown(() => socket.destroy())
    await once(socket, 'secureConnect')
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    return { socket, text: () => text, closed: new Promise((resolve) => socket.once('close', resolve).on('error', resolve)) }
  }

  const patient = await connect()
  for (let asked = 1; asked <= 50; asked += 1) {
    patient.socket.write(POD)
    await untilTrue('the answer', () => patient.text().match(ANSWERED)?.length === asked)
  }

  const before = kube.calls.length
  const hasty = await connect()
  const release = kube.hold('get')
  hasty.socket.write(POD.repeat(500))
  await hasty.closed
  t.notMatch(hasty.text(), ANSWERED)
  t.ok(kube.calls.length - before <= 5, `${kube.calls.length - before} calls: one Pod was looked at, whatever was sent`)
  release()

  patient.socket.write(POD)
  await untilTrue('others are answered', () => patient.text().match(ANSWERED)?.length === 51)
})
