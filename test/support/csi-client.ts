import { Client, credentials, type CallOptions, type ServiceError } from '@grpc/grpc-js'
import { wireMethods, type Message, type MethodName, type ServiceName } from '../../src/csi/wire/services.ts'

/** What a call came to: the message, or the status. */
export type CsiAnswer = { code: number; details: string; message: Message | undefined }

export interface CsiClient {
  /** Calls by the proto files of src. */
  call<Service extends ServiceName>(service: Service, method: MethodName<Service>, message: Message, options?: CallOptions): Promise<CsiAnswer>
  /** Sends what nobody encoded. */
  sendBytes(path: string, bytes: Buffer): Promise<CsiAnswer>
  /** Starts a call that is given up by calling `cancel`. */
  begin<Service extends ServiceName>(service: Service, method: MethodName<Service>, message: Message): { answer: Promise<CsiAnswer>; cancel(): void }
  close(): void
}

/** As kubelet calls a plugin: over a unix socket, in the clear. */
export const csiClient = (socket: string): CsiClient => {
  const client = new Client(`unix:${socket}`, credentials.createInsecure())
  const send = <T>(path: string, write: (value: T) => Buffer, read: (bytes: Buffer) => Message, message: T, options: CallOptions = {}) => {
    const { promise, resolve } = Promise.withResolvers<CsiAnswer>()
    const call = client.makeUnaryRequest(path, write, read, message, options, (error: ServiceError | null, response?: Message) => {
      resolve(error === null ? { code: 0, details: '', message: response } : { code: error.code, details: error.details, message: undefined })
    })
    return { answer: promise, cancel: () => call.cancel() }
  }
  const begin: CsiClient['begin'] = (service, name, message) => start(service, String(name), message)
  const start = (service: ServiceName, name: string, message: Message, options?: CallOptions) => {
    const method = wireMethods(service).get(name)
    if (method === undefined) throw new Error(`${service} has no ${name}`)
    return send(method.path, method.requestSerialize, method.responseDeserialize, message, options)
  }
  return {
    call: (service, name, message, options) => start(service, String(name), message, options).answer,
    sendBytes: (path, bytes) => send(path, (value: Buffer) => value, () => ({}), bytes).answer,
    begin,
    close: () => client.close(),
  }
}
