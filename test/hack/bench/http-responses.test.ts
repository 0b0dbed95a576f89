import { test } from 'tap'
import fc from 'fast-check'
import { responseReader } from '../../../hack/bench/http-responses.ts'

const withLength = (body: string): Buffer => Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)

const chunked = (...pieces: string[]): Buffer =>
  Buffer.from(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${pieces.map((piece) => `${Buffer.byteLength(piece).toString(16)}\r\n${piece}\r\n`).join('')}0\r\n\r\n`)

const responses: Record<string, { bytes: Buffer; want: { status: number; body: string } }> = {
  'a body with a length': { bytes: withLength('{"allowed":true}'), want: { status: 200, body: '{"allowed":true}' } },
  'no body': { bytes: withLength(''), want: { status: 200, body: '' } },
  'the length counts bytes, not characters': { bytes: withLength('{"é":"€"}'), want: { status: 200, body: '{"é":"€"}' } },
  'a body in chunks': { bytes: chunked('{"allowed"', ':true}'), want: { status: 200, body: '{"allowed":true}' } },
  'another status': { bytes: Buffer.from('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno'), want: { status: 503, body: 'no' } },
}

for (const [title, { bytes, want }] of Object.entries(responses)) {
  await test(`${title}: whole, and cut anywhere`, async (t) => {
    for (let cut = 0; cut < bytes.length; cut += 1) {
      const read = responseReader()
      if (cut > 0) t.equal(read(bytes.subarray(0, cut)), undefined, `nothing is told after ${cut} bytes`)
      const response = read(bytes.subarray(cut))
      t.strictSame({ status: response?.status, body: response?.body.toString('utf8') }, want)
    }
  })
}

await test('one response after the other on a connection', async (t) => {
  const read = responseReader()
  t.equal(read(withLength('one'))?.body.toString(), 'one')
  t.equal(read(chunked('two'))?.body.toString(), 'two')
  t.equal(read(withLength('three'))?.body.toString(), 'three')
})

await test('any text comes through in any number of chunks', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1 }).map((text) => JSON.stringify(text))), (pieces) => {
      // No reading of 0, CR, LF, CR, LF inside: JSON writes line ends as escapes.
      return responseReader()(chunked(...pieces))?.body.toString('utf8') === pieces.join('')
    }),
  )
  t.pass('for every list of JSON texts')
})

const refused: Record<string, { bytes: Buffer; message: RegExp }> = {
  'a head that does not say how long the body is': { bytes: Buffer.from('HTTP/1.1 200 OK\r\n\r\nbody'), message: /^this is no response that can be read: HTTP\/1.1 200 OK$/ },
  'something that is no HTTP': { bytes: Buffer.from('SSH-2.0\r\ncontent-length: 1\r\n\r\n1'), message: /^this is no response/ },
  'more than was asked for': { bytes: Buffer.concat([withLength('one'), withLength('two')]), message: /^there is more than the one response/ },
}

for (const [title, { bytes, message }] of Object.entries(refused)) {
  await test(`refused: ${title}`, async (t) => t.throws(() => responseReader()(bytes), { message }))
}
