/** The gRPC services of the proto files, for grpc-js. Messages are plain objects whose fields are all there; who reads one knows no type. */
import type { MethodDefinition } from '@grpc/grpc-js'
import protobuf from 'protobufjs/light.js'
import { DESCRIPTORS } from './descriptors.ts'

const { csi, pluginregistration } = DESCRIPTORS.nested
const METHODS = {
  'csi.v1.Identity': csi.nested.v1.nested.Identity.methods,
  'csi.v1.Node': csi.nested.v1.nested.Node.methods,
  'pluginregistration.Registration': pluginregistration.nested.Registration.methods,
}

// The types of protobufjs are narrower than what it writes and reads itself: they know no map fields.
const NESTED: Record<string, object> = DESCRIPTORS.nested
const ROOT = protobuf.Root.fromJSON({ nested: NESTED })

export type ServiceName = keyof typeof METHODS
export type MethodName<Service extends ServiceName> = keyof (typeof METHODS)[Service]

/** A message by the names of its fields in camel case. Lists are lists, maps are objects, an enum is its number, known or not. */
export type Message = Readonly<Record<string, unknown>>

export type WireMethod = MethodDefinition<Message, Message>

/** Every field is there: an empty text, list or map, false or 0; a message that was not sent is null, or left out where it is one of several. */
const CONVERSION = { defaults: true, arrays: true, objects: true }

const decoder =
  (type: protobuf.Type) =>
  (bytes: Uint8Array): Message =>
    type.toObject(type.decode(bytes), CONVERSION)

const encoder =
  (type: protobuf.Type) =>
  (message: Message): Buffer =>
    Buffer.from(type.encode(message).finish())

/** The methods of a service by their names: how they are called on the wire, how their messages are read and written. */
export const wireMethods = (service: ServiceName): ReadonlyMap<string, WireMethod> =>
  new Map(
    ROOT.lookupService(service).methodsArray.map((method): [string, WireMethod] => {
      method.resolve()
      const { name, resolvedRequestType: request, resolvedResponseType: response } = method
      if (request === null || response === null) throw new Error(`${service}.${name} names a message that is not there`)
      return [
        name,
        {
          path: `/${service}/${name}`,
          requestStream: false,
          responseStream: false,
          requestSerialize: encoder(request),
          requestDeserialize: decoder(request),
          responseSerialize: encoder(response),
          responseDeserialize: decoder(response),
        },
      ]
    }),
  )
