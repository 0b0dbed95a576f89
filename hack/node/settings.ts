/** The files and command lines of kubelet and containerd. Pure. */
import { join } from 'node:path'

/** Where a node keeps what; all of it below one folder. */
export interface NodePlaces {
  folder: string
  kubelet: string
  /** kubelet looks for sockets of plugins there. */
  registration: string
  podLogs: string
  containerd: string
  containerdSocket: string
}

export const placesOf = (folder: string): NodePlaces => ({
  folder,
  kubelet: join(folder, 'kubelet'),
  registration: join(folder, 'kubelet', 'plugins_registry'),
  podLogs: join(folder, 'pod-logs'),
  containerd: join(folder, 'containerd'),
  containerdSocket: join(folder, 'containerd', 'containerd.sock'),
})

/** containerd and kubelet share images and containers of this namespace of containerd. */
export const CONTAINERD_NAMESPACE = 'k8s.io'

/**
 * Nothing of the machine's own containerd: other folders, socket and CNI. The snapshotter that needs no kernel module, and no
 * containers with a better claim to memory than this process has: whoever gave that up cannot give it to others.
 */
export const containerdConfig = ({ containerd, containerdSocket }: NodePlaces, runc: string, sandboxImage: string): string => `version = 2
root = ${JSON.stringify(join(containerd, 'root'))}
state = ${JSON.stringify(join(containerd, 'state'))}

[grpc]
  address = ${JSON.stringify(containerdSocket)}

[debug]
  level = "warn"

[plugins."io.containerd.internal.v1.opt"]
  path = ${JSON.stringify(join(containerd, 'opt'))}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${JSON.stringify(sandboxImage)}
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = ${JSON.stringify(runc)}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${JSON.stringify(join(containerd, 'cni', 'bin'))}
    conf_dir = ${JSON.stringify(join(containerd, 'cni', 'net.d'))}
`

export const containerdConfigFile = ({ containerd }: NodePlaces): string => join(containerd, 'config.toml')

export const containerdArguments = (places: NodePlaces): string[] => ['--config', containerdConfigFile(places)]

/** More than any test or measurement has; kubelet's default is 110. */
const MAX_PODS = 250

export interface KubeletPorts {
  /** Says whether kubelet is well, to everybody. */
  healthz: number
  /** Logs and commands, for the API server alone. */
  api: number
}

/**
 * A kubelet that leaves the machine as it is: no cgroups of its own, no iptables, no eviction because the machine's disk is full.
 * Whoever has the API server's key may run commands in containers, and nobody else on the machine.
 */
export const kubeletConfig = (places: NodePlaces, ports: KubeletPorts): object => ({
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  containerRuntimeEndpoint: `unix://${places.containerdSocket}`,
  failCgroupV1: false,
  cgroupDriver: 'cgroupfs',
  cgroupsPerQOS: false,
  enforceNodeAllocatable: [],
  failSwapOn: false,
  localStorageCapacityIsolation: false,
  makeIPTablesUtilChains: false,
  address: '127.0.0.1',
  port: ports.api,
  readOnlyPort: 0,
  authentication: { anonymous: { enabled: false }, webhook: { enabled: false }, x509: { clientCAFile: clientCaFile(places) } },
  authorization: { mode: 'AlwaysAllow' },
  healthzBindAddress: '127.0.0.1',
  healthzPort: ports.healthz,
  podLogsDir: places.podLogs,
  volumePluginDir: join(places.folder, 'volume-plugins'),
  // Pods use the machine's network, and none of them asks for a name: its resolv.conf may lie where the node sees nothing.
  resolvConf: '',
  maxPods: MAX_PODS,
  // The machine may forbid to claim more.
  oomScoreAdj: 0,
  imageGCHighThresholdPercent: 100,
  evictionHard: { 'memory.available': '0%', 'nodefs.available': '0%', 'nodefs.inodesFree': '0%', 'imagefs.available': '0%', 'imagefs.inodesFree': '0%' },
})

/** The CA of the control plane, which signs the one certificate that may call kubelet. */
export const clientCaFile = ({ folder }: NodePlaces): string => join(folder, 'client-ca.crt')

export const kubeletConfigFile = ({ folder }: NodePlaces): string => join(folder, 'kubelet.json')

export const kubeletArguments = (places: NodePlaces, nodeName: string, kubeconfig: string): string[] => [
  `--config=${kubeletConfigFile(places)}`,
  `--kubeconfig=${kubeconfig}`,
  `--root-dir=${places.kubelet}`,
  `--cert-dir=${join(places.kubelet, 'pki')}`,
  `--hostname-override=${nodeName}`,
  '--v=2',
]
