/** How the issuer is asked: by node:http, since the built-in fetch takes no CA of our own and no bound for the answer. */
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { request as requestHttp, type IncomingMessage } from 'node:http'
import { Agent, request as requestHttps } from 'node:https'
import { createSecureContext, getCACertificates } from 'node:tls'
import { CodedError, messageOf } from '../../errors.ts'

/** The issuer did not answer, or answered that it cannot now. Says nothing about any token. */
export class IssuerUnreachable extends Error {
  override readonly name = 'IssuerUnreachable'
}

export interface IssuerRequest {
  method?: string
  headers?: Headers | Record<string, string>
  body?: unknown
  signal?: AbortSignal | undefined
}

/**
 * As `fetch`, for small answers; never follows a redirect, and nothing is kept open.
 * @throws IssuerUnreachable also for an answer of 429 or 5xx
 */
export type IssuerFetch = (url: string, request: IssuerRequest) => Promise<Response>

export interface IssuerFetchOptions {
  /** PEM, trusted beside what Node trusts; read again when it changes. */
  caFile?: string
  /** How long one answer may take, milliseconds. Default 5,000. */
  requestMs?: number
}

/** Bytes; a key set has a few thousand. */
const MAX_ANSWER = 1024 * 1024

const readCa = async (caFile: string): Promise<string> => {
  try {
    return await readFile(caFile, 'utf8')
  } catch (error) {
    throw new CodedError('CONFIG_INVALID', `the CA file of the OIDC issuer cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

const readCertificate = (pem: string): X509Certificate => new X509Certificate(pem)

const agentTrusting = (pem: string): Agent => {
  try {
    // Of text without any certificate the context below would trust nothing, and say nothing.
    readCertificate(pem)
    return new Agent({ secureContext: createSecureContext({ ca: [...getCACertificates('default'), pem], minVersion: 'TLSv1.2' }) })
  } catch (error) {
    throw new CodedError('CONFIG_INVALID', `the CA file of the OIDC issuer holds no certificates: ${messageOf(error)}`, { cause: error })
  }
}

/** @throws CodedError CONFIG_INVALID */
export const checkCaFile = async (caFile: string): Promise<void> => {
  agentTrusting(await readCa(caFile))
}

/** Made once for each content of the file: reading a hundred CAs costs more than a request. */
const createAgents = (caFile: string | undefined): (() => Promise<Agent>) => {
  let last = { pem: '', agent: new Agent({ minVersion: 'TLSv1.2' }) }
  return async () => {
    const pem = caFile === undefined ? '' : await readCa(caFile)
    if (pem !== last.pem) last = { pem, agent: agentTrusting(pem) }
    return last.agent
  }
}

const bodyText = (body: unknown): string | undefined => {
  if (body === undefined || body === null) return undefined
  if (typeof body === 'string') return body
  if (body instanceof URLSearchParams) return body.toString()
  throw new TypeError('a request to the issuer carries text or a form')
}

const read = async (message: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> => {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of message) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('the answer came as text')
    size += chunk.length
    if (size > MAX_ANSWER) throw new IssuerUnreachable(`the issuer's answer is larger than ${MAX_ANSWER} bytes`)
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

const answerOf = (message: IncomingMessage, bytes: Uint8Array<ArrayBuffer>): Response => {
  const status = message.statusCode ?? 0
  if (status === 429 || status >= 500) throw new IssuerUnreachable(`the issuer answered ${status}`)
  if (status < 200) throw new IssuerUnreachable(`the issuer answered ${status}, which is no answer`)
  const headers = new Headers()
  for (const [name, values] of Object.entries(message.headersDistinct)) for (const value of values ?? []) headers.append(name, value)
  return new Response(bytes.length === 0 ? null : bytes, { status, headers })
}

const send = (url: URL, agent: Agent, { method = 'GET', headers = {}, body }: IssuerRequest, end: AbortSignal): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const options = { method, headers: Object.fromEntries(new Headers(headers)), signal: end }
    const request = url.protocol === 'https:' ? requestHttps(url, { ...options, agent }) : requestHttp(url, { ...options, agent: false })
    request.on('response', resolve)
    request.on('error', reject)
    request.end(bodyText(body))
  })

/** @param signal ends every request that is under way */
export const createIssuerFetch = ({ caFile, requestMs = 5_000 }: IssuerFetchOptions, signal: AbortSignal): IssuerFetch => {
  const agentFor = createAgents(caFile)

  return async (url, request) => {
    const late = AbortSignal.timeout(requestMs)
    const end = AbortSignal.any([signal, late, ...(request.signal ? [request.signal] : [])])
    try {
      const message = await send(new URL(url), await agentFor(), request, end)
      return answerOf(message, await read(message))
    } catch (error) {
      if (error instanceof IssuerUnreachable) throw error
      const why = late.aborted ? `no answer within ${requestMs / 1000} s` : messageOf(error)
      throw new IssuerUnreachable(why, { cause: error })
    }
  }
}
