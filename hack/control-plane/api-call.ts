/** One call to the API server, over TLS that is checked against its CA. */
import { request } from 'node:https'

export interface ApiTarget {
  server: string
  caPem: string
  token: string
  /** Milliseconds without a sign of life after which a call is given up. Default 10,000. */
  answerMs?: number
}

export interface ApiAnswer {
  status: number
  text: string
}

/** @throws Error when there is no answer; a status of 400 and more is an answer */
export const callApi = (target: ApiTarget, method: string, path: string, body?: object, contentType = 'application/json'): Promise<ApiAnswer> =>
  new Promise((resolve, reject) => {
    const { server, caPem, token, answerMs = 10_000 } = target
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json', ...(body !== undefined && { 'content-type': contentType }) }
    const call = request(new URL(path, server), { method, ca: caPem, headers, timeout: answerMs, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
      response.once('error', reject)
    })
    call.once('timeout', () => call.destroy(new Error(`no answer to ${method} ${path} within ${answerMs / 1000} s`)))
    call.once('error', reject)
    call.end(body === undefined ? undefined : JSON.stringify(body))
  })

/** The JSON text of an answer. @throws Error with the server's own message for every status of 400 and more */
export const readAnswer = ({ status, text }: ApiAnswer, what: string): string => {
  if (status < 400) return text
  throw new Error(`${what}: the API server answered ${status}: ${text.slice(0, 500)}`)
}
