import { test } from 'tap'
import type { Headers } from '../../src/core/forwarded-request.ts'
import { isForeignRequest } from '../../src/core/request-origin.ts'

const OWN = 'https://ws.example.com'
const socket = { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13' }

const CASES: Record<string, { headers?: Headers; method?: string | undefined; host?: string; proto?: 'http'; foreign: boolean }> = {
  'a page is looked at from anywhere': { headers: { 'sec-fetch-site': 'cross-site' }, method: 'GET', foreign: false },
  'reading with an Origin too': { headers: { origin: 'https://evil.test' }, method: 'GET', foreign: false },
  'HEAD and OPTIONS change nothing': { headers: { 'sec-fetch-site': 'cross-site' }, method: 'OPTIONS', foreign: false },
  'a form of this origin': { headers: { 'sec-fetch-site': 'same-origin', origin: OWN }, method: 'POST', foreign: false },
  'a form of another site': { headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.test' }, method: 'POST', foreign: true },
  'a form of a sister host': { headers: { 'sec-fetch-site': 'same-site', origin: 'https://other.example.com' }, method: 'POST', foreign: true },
  'the address bar': { headers: { 'sec-fetch-site': 'none' }, method: 'POST', foreign: false },
  'Sec-Fetch-Site counts before Origin': { headers: { 'sec-fetch-site': 'cross-site', origin: OWN }, method: 'DELETE', foreign: true },
  'an unknown Sec-Fetch-Site': { headers: { 'sec-fetch-site': 'same-origin, cross-site' }, method: 'POST', foreign: true },
  'an older browser, this origin': { headers: { origin: OWN }, method: 'PUT', foreign: false },
  'an older browser, another origin': { headers: { origin: 'https://evil.test' }, method: 'PATCH', foreign: true },
  'an older browser, a longer name': { headers: { origin: `${OWN}.evil.test` }, method: 'POST', foreign: true },
  'an older browser, another port': { headers: { origin: `${OWN}:8443` }, method: 'POST', foreign: true },
  'the port of this origin': { headers: { origin: `${OWN}:8443` }, method: 'POST', host: 'ws.example.com:8443', foreign: false },
  'a port that goes without saying': { headers: { origin: OWN }, method: 'POST', host: 'ws.example.com:443', foreign: false },
  'another protocol': { headers: { origin: OWN }, method: 'POST', proto: 'http', foreign: true },
  'no origin at all': { headers: { origin: 'null' }, method: 'POST', foreign: true },
  'a program': { method: 'POST', foreign: false },
  'a method that nobody knows': { headers: { origin: 'https://evil.test' }, method: 'MKCOL', foreign: true },
  'a WebSocket of another site': { headers: { ...socket, origin: 'https://evil.test' }, method: 'GET', foreign: true },
  'a WebSocket of this origin': { headers: { ...socket, origin: OWN }, method: 'GET', foreign: false },
  'a WebSocket of a program': { headers: socket, method: 'GET', foreign: false },
  'an upgrade to a WebSocket': { headers: { upgrade: 'WebSocket', origin: 'https://evil.test' }, method: 'GET', foreign: true },
  'another upgrade': { headers: { upgrade: 'h2c', origin: 'https://evil.test' }, method: 'GET', foreign: false },
  'a proxy that does not say the method, another origin': { headers: { origin: 'https://evil.test' }, method: undefined, foreign: true },
  'a proxy that does not say the method, this origin': { headers: { origin: OWN }, method: undefined, foreign: false },
  'a proxy that does not say the method, a link': { headers: { 'sec-fetch-site': 'cross-site' }, method: undefined, foreign: false },
}
await test('requests that a page of another origin may have made', (t) => {
  for (const [sentence, { headers = {}, method, host = 'ws.example.com', proto, foreign }] of Object.entries(CASES)) {
    t.equal(isForeignRequest(headers, method, { host, proto: proto ?? 'https' }), foreign, sentence)
  }
  t.equal(isForeignRequest({ origin: 'http://ws.example.com:8080' }, 'POST', { host: 'ws.example.com:8080' }), false, 'a proxy that does not say the protocol')
  t.end()
})
