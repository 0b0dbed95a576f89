/** Who asks, what the path is about, and whether the caller may: in this order, so that nobody learns what he may not ask for. */
import type { IncomingMessage } from 'node:http'
import type { Logger } from 'pino'
import { verbOf, type ApiPath, type ResourcePath } from '../core/api-path.ts'
import { badRequest, notFound, unauthorized, unavailable } from './api-failure.ts'
import type { Answers, Reply } from './answers.ts'
import type { Authenticate } from './authentication.ts'
import type { Authorize, CallerQuestion } from './authorization.ts'
import { forbidden } from './refusals.ts'
import type { Caller } from './review-kind.ts'

/**
 * @returns the caller, or undefined when the request was answered
 * @throws CodedError KUBE_* when it could not be found out
 */
export type Admit = (request: IncomingMessage, reply: Reply, path: ApiPath) => Promise<Caller | undefined>

export interface AdmitDeps {
  authenticate: Authenticate
  authorize: Authorize
  answers: Pick<Answers, 'refuse'>
  logger: Logger
}

const questionOf = (method: string, path: ResourcePath | { kind: 'path'; path: string }): CallerQuestion => {
  if (path.kind === 'path') return { path: path.path, verb: method.toLowerCase() }
  const { group, version, resource, subresource, namespace, name } = path
  return {
    group,
    version,
    resource,
    verb: verbOf(method, path),
    ...(subresource === '' ? {} : { subresource }),
    ...(namespace === '' ? {} : { namespace }),
    ...(name === '' ? {} : { name }),
  }
}

export const createAdmit =
  ({ authenticate, authorize, answers, logger }: AdmitDeps): Admit =>
  async (request, reply, path) => {
    const found = authenticate(request)
    const authentication = found instanceof Promise ? await found : found
    if (authentication.state === 'unavailable') answers.refuse(request, reply, unavailable(authentication.why))
    else if (authentication.state === 'unknown') {
      logger.debug({ reason: authentication.why }, 'a caller was not authenticated')
      // His certificate was judged in the handshake; under CAs that came later, only another handshake makes it good.
      reply.header('connection', 'close')
      answers.refuse(request, reply, unauthorized)
    } else if (path.kind === 'nowhere') answers.refuse(request, reply, notFound)
    else if (path.kind === 'bad-namespace') answers.refuse(request, reply, badRequest(path.problem))
    else {
      const { caller } = authentication
      const question = questionOf(request.method ?? '', path)
      const answer = authorize(caller, question)
      if (typeof answer === 'boolean' ? answer : await answer) return caller
      answers.refuse(request, reply, forbidden(caller, question))
    }
    return undefined
  }
