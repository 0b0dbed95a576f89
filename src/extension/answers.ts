/** How anything is answered: what was asked for, or a Status that says why not. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Server } from 'node:https'
import type { FastifyReply, RouteGenericInterface } from 'fastify'
import type { Logger } from 'pino'
import { acceptedForm } from '../core/media-type.ts'
import { isCoded } from '../errors.ts'
import type { Drain } from '../serving/drain.ts'
import { internalError, methodNotAllowed, type ApiFailure } from './api-failure.ts'
import { CONTENT_TYPE, encode, statusOf } from './encoded.ts'
import type { ExtensionMetrics } from './metrics.ts'
import { readFailure } from './reviews/read-failure.ts'

export type Reply = FastifyReply<RouteGenericInterface, Server>

export interface Answers {
  send(reply: Reply, code: number, contentType: string, body: string): void
  refuse(request: IncomingMessage, reply: Reply, failure: ApiFailure): void
  /** @param allow the methods that are taken, as in the Allow header */
  refuseMethod(request: IncomingMessage, reply: Reply, allow: string): void
  /** What was thrown, as an answer without anything of it. @param about for the log */
  failureOf(error: unknown, about: object): ApiFailure
}

/** All that a caller is told when the API server gave no answer. */
const UNVERIFIED = 'Failed to verify access permission'

const asItIs = (text: string): string => text

export const createAnswers = ({ drain, metrics, logger }: { drain: Drain; metrics: ExtensionMetrics; logger: Logger }): Answers => {
  const send = (reply: Reply, code: number, contentType: string, body: string): void => {
    if (drain.draining) reply.header('connection', 'close')
    metrics.answered(code)
    // Text goes out in one piece with the head, bytes beside it. With a serializer of its own, fastify leaves the content type of text as it is.
    reply.code(code).header('content-type', contentType).header('x-content-type-options', 'nosniff').header('cache-control', 'no-cache, private').serializer(asItIs).send(body)
  }

  const refuse = (request: IncomingMessage, reply: Reply, failure: ApiFailure): void => {
    const form = acceptedForm(request.headers.accept) ?? 'json'
    if (failure.retryAfterSeconds !== undefined) reply.header('retry-after', String(failure.retryAfterSeconds))
    send(reply, failure.code, CONTENT_TYPE[form], encode(statusOf(failure), form))
  }

  return {
    send,
    refuse,
    refuseMethod: (request, reply, allow) => {
      reply.header('allow', allow)
      refuse(request, reply, methodNotAllowed)
    },
    failureOf: (error, about) => {
      if (isCoded(error)) {
        logger.warn({ ...about, err: error }, 'a request to the extension API has no answer: what it depends on failed')
        return readFailure(error, UNVERIFIED)
      }
      const correlationId = randomUUID()
      logger.error({ ...about, err: error, correlationId }, 'the extension API crashed on a request; nothing was allowed by it')
      return internalError(`the request could not be answered; the log of the extension has the cause under correlation id ${correlationId}`)
    },
  }
}
