import path from 'node:path'

/** Settings of the CSI node plugin. Paths are as this process sees them, except where kubelet's view is named. */
export interface CsiOptions {
  /** Path of the CSI socket. Default `/csi/csi.sock`. */
  endpoint: string
  /** Folder that kubelet watches for registration sockets. Default `/registration`. */
  registrationDir: string
  /** The CSI socket's path as kubelet sees it. Default `/var/lib/kubelet/plugins/connectors-csi/csi.sock`. */
  kubeletEndpoint: string
  /** kubelet's root folder, which must have the same path here: targets of volumes lie below it. Default `/var/lib/kubelet`. */
  kubeletDir: string
  /** Where the plugin keeps what it has to remember across a restart. Default: the folder of the CSI socket. */
  stateDir: string
  /** The node that this plugin runs on, as the API server calls it. */
  nodeName: string
  /** Keeps the files of each volume in memory, by a tmpfs of its own. Default false: plain files on the node's disk. */
  tmpfs: boolean
  /** Waits inside the mount call until the access is decided. Default true; false refuses at once and leaves it to kubelet's retry. */
  wait: boolean
  /** Makes tokens by TokenRequest where the volume's `token.expiration` or its audience asks for it. Default false: kubelet's tokens alone. */
  tokenApi: boolean
  /** Address of the plain metrics and health server. Default `::`, all addresses. */
  metricsHost: string
  /** Its port; 0 takes a free one. Default 8080. */
  metricsPort: number
  /** How many mount calls may wait at once; what comes beyond is answered UNAVAILABLE at once. Default 500. */
  maxWaiting: number
}

const ENDPOINT = '/csi/csi.sock'

/** All but the name of the node. */
export const DEFAULT_CSI_OPTIONS: Omit<CsiOptions, 'nodeName'> = {
  endpoint: ENDPOINT,
  registrationDir: '/registration',
  kubeletEndpoint: '/var/lib/kubelet/plugins/connectors-csi/csi.sock',
  kubeletDir: '/var/lib/kubelet',
  stateDir: path.dirname(ENDPOINT),
  tmpfs: false,
  wait: true,
  tokenApi: false,
  metricsHost: '::',
  metricsPort: 8080,
  maxWaiting: 500,
}
