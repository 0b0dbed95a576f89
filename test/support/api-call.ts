/** A call to the API server as its path and method tell it, for what stands in between. */
import type { IncomingMessage } from 'node:http'
import { status } from './status.ts'

export interface ProxiedCall {
  /** Of all calls, from 1. */
  readonly number: number
  readonly method: string
  /** As it came, with its query. */
  readonly url: string
  readonly userAgent: string
  /** Empty for the core group and for what is no resource. */
  readonly group: string
  /** The plural; empty for what is no resource, such as /readyz or a discovery document. */
  readonly resource: string
  /** Empty where there is none. A new object is not named by its path. */
  readonly namespace: string
  readonly name: string
  readonly subresource: string
  readonly isWatch: boolean
  /** Changes something that is stored. A question, such as a SubjectAccessReview, does not. */
  readonly isWrite: boolean
}

const QUESTIONS = new Set(['authorization.k8s.io', 'authentication.k8s.io'])
/** Named below a namespace in the path, but part of the namespace itself. */
const OF_A_NAMESPACE = new Set(['status', 'finalize'])

export const readCall = ({ method = 'GET', url = '/', headers }: Pick<IncomingMessage, 'method' | 'url' | 'headers'>, number: number): ProxiedCall => {
  const { pathname, searchParams } = new URL(url, 'https://localhost')
  const [root, ...parts] = pathname.split('/').filter((part) => part !== '').map(decodeURIComponent)
  const group = root === 'apis' ? (parts.shift() ?? '') : ''
  const isApi = (root === 'api' || root === 'apis') && parts.shift() !== undefined
  const inNamespace = isApi && parts[0] === 'namespaces' && parts[2] !== undefined && !OF_A_NAMESPACE.has(parts[2])
  const namespace = inNamespace ? (parts.splice(0, 2)[1] ?? '') : ''
  const [resource = '', name = '', subresource = ''] = isApi ? parts : []
  const isRead = method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
  return {
    number,
    method,
    url,
    userAgent: headers['user-agent'] ?? '',
    group,
    resource,
    namespace,
    name,
    subresource,
    isWatch: isRead && ['1', 'true'].includes(searchParams.get('watch') ?? ''),
    isWrite: !isRead && resource !== '' && !QUESTIONS.has(group),
  }
}

const REASONS: Record<number, string> = { 409: 'Conflict', 410: 'Expired', 429: 'TooManyRequests', 500: 'InternalError', 503: 'ServiceUnavailable', 504: 'Timeout' }

/** A metav1.Status as the API server writes it. */
export const errorStatus = (code: number, retryAfterSeconds?: number): object =>
  status(code, REASONS[code] ?? 'Unknown', `the proxy of a test answers ${code}`, retryAfterSeconds === undefined ? undefined : { retryAfterSeconds })
