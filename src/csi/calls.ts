/** How a call reaches its handler: with a deadline and a signal, and no error that is thrown gets past here. */
import { performance } from 'node:perf_hooks'
import type { handleUnaryCall, sendUnaryData, Server, ServerUnaryCall } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import { CsiError, grpcErrorOf, type CsiCode } from './grpc-status.ts'
import { wireMethods, type Message, type MethodName, type ServiceName } from './wire/services.ts'

export interface CallContext {
  /** When the caller stops waiting, in milliseconds since the epoch; Infinity when it did not say. */
  deadline: number
  /** Aborted when the caller gave up, the deadline passed or the plugin stops; its reason is a CsiError. */
  signal: AbortSignal
}

export type Handler = (request: Message, context: CallContext) => Message | Promise<Message>
export type Handlers<Service extends ServiceName> = Record<MethodName<Service>, Handler>

export interface CallMetrics {
  /** A call was answered, or would have been had its caller waited. @param seconds how long it took */
  answered(method: string, code: CsiCode | 'OK', seconds: number): void
}

export interface Calls {
  /** Adds a service to a server. */
  serve<Service extends ServiceName>(server: Server, service: Service, handlers: Handlers<Service>): void
  /** Aborts the signals of all calls that run, and of those that still come. */
  stop(): void
}

export const createCalls = (logger: Logger, metrics: CallMetrics): Calls => {
  const running = new Set<AbortController>()
  let isStopping = false

  const begin = (): AbortController => {
    const controller = new AbortController()
    running.add(controller)
    if (isStopping) abortForStop(controller)
    return controller
  }

  const answer = async (method: string, handler: Handler, call: ServerUnaryCall<Message, Message>, callback: sendUnaryData<Message>): Promise<void> => {
    const started = performance.now()
    const controller = begin()
    call.on('cancelled', () => controller.abort(new CsiError('ABORTED', 'the caller gave up, or its deadline passed; kubelet asks again')))
    try {
      const response = await handler(call.request, { deadline: Number(call.getDeadline()), signal: controller.signal })
      callback(null, response)
      metrics.answered(method, 'OK', (performance.now() - started) / 1000)
    } catch (error) {
      const { code, status } = grpcErrorOf(error, logger, { method })
      callback(status)
      metrics.answered(method, code, (performance.now() - started) / 1000)
    } finally {
      running.delete(controller)
    }
  }

  const handle =
    (method: string, handler: Handler): handleUnaryCall<Message, Message> =>
    (call, callback) =>
      void answer(method, handler, call, callback)

  return {
    serve(server, service, handlers) {
      const implementation = Object.entries<Handler>(handlers).map(([method, handler]) => [method, handle(method, handler)])
      server.addService(Object.fromEntries(wireMethods(service)), Object.fromEntries(implementation))
    },
    stop() {
      isStopping = true
      for (const controller of running) abortForStop(controller)
    },
  }
}

const abortForStop = (controller: AbortController): void => controller.abort(new CsiError('UNAVAILABLE', 'the plugin is stopping; kubelet asks again'))
