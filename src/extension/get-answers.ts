/** What is answered to GET and HEAD: health, metrics and the documents. */
import type { IncomingMessage } from 'node:http'
import { notAcceptable, notFound } from './api-failure.ts'
import type { Answers, Reply } from './answers.ts'
import type { Documents } from './documents.ts'
import { healthText, type HealthCheck } from './health.ts'

export interface GetAnswers {
  /** Health is for everybody. @returns whether the path is one of health; then it was answered */
  health(request: IncomingMessage, reply: Reply, path: string, query: string): boolean
  /** Whatever else there is at a path that is none of a kind; or that there is nothing. */
  path(request: IncomingMessage, reply: Reply, path: string): Promise<void>
}

export interface GetAnswersDeps {
  live: readonly HealthCheck[]
  ready: readonly HealthCheck[]
  metricsText: () => Promise<{ text: string; contentType: string }>
  documents: Documents
  answers: Answers
}

const TEXT_TYPE = 'text/plain; charset=utf-8'
const ALLOWED = 'GET, HEAD'

const HEALTH_PATHS: ReadonlyMap<string, 'live' | 'ready'> = new Map([
  ['/healthz', 'live'],
  ['/livez', 'live'],
  ['/readyz', 'ready'],
])

const isGet = ({ method }: IncomingMessage): boolean => method === 'GET' || method === 'HEAD'

const isKnown = (etag: string, header: string | undefined): boolean => header?.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag) === true

export const createGetAnswers = (deps: GetAnswersDeps): GetAnswers => {
  const { documents, metricsText, answers } = deps

  const answerDocument = (request: IncomingMessage, reply: Reply, path: string): void => {
    const { headers } = request
    const answer = documents.answer(path, headers.accept)
    if (answer === undefined) return answers.refuse(request, reply, notAcceptable)
    reply.header('vary', 'Accept')
    const { etag, contentType, body } = answer
    if (etag !== undefined) reply.header('etag', etag)
    return etag !== undefined && isKnown(etag, headers['if-none-match']) ? answers.send(reply, 304, contentType, '') : answers.send(reply, 200, contentType, body)
  }

  return {
    health: (request, reply, path, query) => {
      const checks = HEALTH_PATHS.get(path)
      if (checks === undefined) return false
      if (isGet(request)) {
        const { code, text } = healthText(path.slice(1), deps[checks], new URLSearchParams(query).has('verbose'))
        answers.send(reply, code, TEXT_TYPE, text)
      } else answers.refuseMethod(request, reply, ALLOWED)
      return true
    },
    path: async (request, reply, path) => {
      const isMetrics = path === '/metrics'
      if (!isMetrics && !documents.has(path)) return answers.refuse(request, reply, notFound)
      if (!isGet(request)) return answers.refuseMethod(request, reply, ALLOWED)
      if (!isMetrics) return answerDocument(request, reply, path)
      const { text, contentType } = await metricsText()
      return answers.send(reply, 200, contentType, text)
    },
  }
}
