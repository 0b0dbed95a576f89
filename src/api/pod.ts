import type { KubeObject } from './meta.ts'

/** A Pod, as far as this program reads it. */
export interface Pod extends KubeObject {
  spec?: {
    serviceAccountName?: string
    nodeName?: string
    volumes?: Volume[]
  }
  status?: {
    phase?: string
    containerStatuses?: ContainerStatus[]
    initContainerStatuses?: ContainerStatus[]
    ephemeralContainerStatuses?: ContainerStatus[]
  }
}

export interface ContainerStatus {
  /** Set once the container was started, and kept when it ended. */
  containerID?: string
}

export interface Volume {
  name: string
  csi?: {
    driver: string
    readOnly?: boolean
    volumeAttributes?: Record<string, string>
  }
}
