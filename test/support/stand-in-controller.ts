import { Client, credentials, Server, ServerCredentials, type handleUnaryCall } from '@grpc/grpc-js'
import protobuf from 'protobufjs/light.js'

const same = (bytes: Buffer): Buffer => bytes

/** The first field of a message of capabilities: one of them, of number 1. */
const FIRST_CAPABILITY = Buffer.from([0x0a, 4, 0x0a, 2, 0x08, 1])

/** CreateVolumeResponse: the volume with an id. */
const createdVolume = (id: string): Buffer => {
  const volume = protobuf.Writer.create().uint32(0x12).string(id).finish()
  return Buffer.from(protobuf.Writer.create().uint32(0x0a).bytes(volume).finish())
}

/** The name, which is the first field of CreateVolumeRequest. */
const nameOf = (bytes: Buffer): string => {
  const reader = protobuf.Reader.create(bytes)
  reader.uint32()
  return reader.string()
}

const ANSWERS: Record<string, (request: Buffer) => Buffer> = {
  '/csi.v1.Identity/GetPluginCapabilities': () => FIRST_CAPABILITY,
  '/csi.v1.Controller/ControllerGetCapabilities': () => FIRST_CAPABILITY,
  '/csi.v1.Controller/CreateVolume': (request) => createdVolume(nameOf(request)),
  '/csi.v1.Controller/DeleteVolume': () => Buffer.alloc(0),
}

const FORWARDED = ['Identity/GetPluginInfo', 'Identity/Probe', 'Node/NodeGetInfo', 'Node/NodeGetCapabilities', 'Node/NodePublishVolume', 'Node/NodeUnpublishVolume']

/**
 * A driver that also has a Controller service, whose volumes are names and nothing else, in front of a plugin that has none.
 * @param endpoint socket to serve on
 * @param plugin socket of the plugin, which answers all other calls
 */
export const standInController = async (endpoint: string, plugin: string): Promise<{ stop(): void }> => {
  const client = new Client(`unix:${plugin}`, credentials.createInsecure())
  const server = new Server()
  const add = (path: string, handler: handleUnaryCall<Buffer, Buffer>): boolean => server.register(path, handler, same, same, 'unary')
  for (const [path, answer] of Object.entries(ANSWERS)) add(path, ({ request }, callback) => callback(null, answer(request)))
  for (const path of FORWARDED.map((name) => `/csi.v1.${name}`)) add(path, ({ request }, callback) => void client.makeUnaryRequest(path, same, same, request, callback))
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${endpoint}`, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error)))
  })
  return {
    stop() {
      client.close()
      server.forceShutdown()
    },
  }
}
