/** The plugin's edge: two unix sockets, one that kubelet finds it by and one for the volumes. */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import type { Health } from '../metrics-server.ts'
import { createCalls, type CallMetrics } from './calls.ts'
import { identityHandlers } from './identity.ts'
import { nodeHandlers, type VolumePublisher } from './node.ts'
import { registrationHandlers, type RegistrationMetrics } from './registration.ts'
import { listenOnSocket, type ListeningSocket } from './sockets.ts'

export interface ServeCsiOptions {
  /** Path of the CSI socket. */
  endpoint: string
  /** Path of the registration socket, in the folder that kubelet watches. */
  registrationSocket: string
  /** Path of the CSI socket as kubelet sees it. */
  kubeletEndpoint: string
  nodeName: string
  version: string
  publisher: VolumePublisher
  /** What Probe answers. */
  ready: Health
  logger: Logger
  metrics: CallMetrics & RegistrationMetrics
}

export interface CsiServer {
  /** Rejects when a socket fails. */
  failed: Promise<never>
  /** Says which socket is gone: only a start makes it anew, and kubelet finds the plugin by it. */
  live: Health
  /** Lets kubelet go elsewhere, ends the calls that wait, and removes the sockets. */
  stop(): Promise<void>
}

/** A Pod is at most 1.5 MiB in etcd; what kubelet sends of it, with its tokens, is less. */
const MAX_RECEIVED_BYTES = 2 * 1024 * 1024
/** How long calls may take to notice that the plugin stops, in milliseconds. */
const STOP_WITHIN_MS = 5_000

const SERVER_OPTIONS = { 'grpc.max_receive_message_length': MAX_RECEIVED_BYTES, 'grpc.enable_channelz': 0 }

/** A gRPC server that takes its connections from a socket of ours: its own way to listen knows neither modes nor stale sockets. */
const listenAs = async (server: Server, path: string): Promise<ListeningSocket> => {
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  return listenOnSocket(path, (connection) => injector.injectConnection(connection))
}

const shutDown = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown()
      resolve()
    }, STOP_WITHIN_MS)
    // It has no error to say but that it did not listen, which is the socket's part here.
    server.tryShutdown(() => {
      clearTimeout(timer)
      resolve()
    })
  })

/**
 * Serves both sockets. kubelet can find the plugin only once the CSI socket takes calls.
 * @throws CodedError CONFIG_INVALID when a socket cannot be served
 */
export const serveCsi = async (options: ServeCsiOptions): Promise<CsiServer> => {
  const { endpoint, registrationSocket, kubeletEndpoint, nodeName, version, publisher, ready, logger, metrics } = options
  const calls = createCalls(logger, metrics)
  const csi = new Server(SERVER_OPTIONS)
  calls.serve(csi, 'csi.v1.Identity', identityHandlers(version, ready))
  calls.serve(csi, 'csi.v1.Node', nodeHandlers(nodeName, publisher))
  const registration = new Server(SERVER_OPTIONS)
  calls.serve(registration, 'pluginregistration.Registration', registrationHandlers(kubeletEndpoint, logger, metrics))

  const csiSocket = await listenAs(csi, endpoint)
  const found = await listenAs(registration, registrationSocket).catch(async (error: unknown) => {
    await csiSocket.close()
    csi.forceShutdown()
    throw error
  })
  logger.info({ endpoint, registrationSocket, kubeletEndpoint }, 'serving the CSI socket')
  const failed = Promise.race([csiSocket.failed, found.failed])
  // Whoever waits for it is told; nobody has to.
  failed.catch(() => undefined)
  return {
    failed,
    live: () => csiSocket.lost() ?? found.lost(),
    async stop() {
      await found.close()
      await csiSocket.close()
      calls.stop()
      await Promise.all([csi, registration].map(shutDown))
    },
  }
}
