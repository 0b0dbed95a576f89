/** The programs of a control plane, and what is pinned about them. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const REQUIRED_PROGRAMS = ['etcd', 'kube-apiserver', 'kubectl'] as const
export const OPTIONAL_PROGRAMS = ['kube-controller-manager'] as const
export const PROGRAMS = [...REQUIRED_PROGRAMS, ...OPTIONAL_PROGRAMS] as const
export type Program = (typeof PROGRAMS)[number]

/** Those that run as long as the control plane does. */
export type ServerProgram = Exclude<Program, 'kubectl'>

/** Absolute paths. The controller manager is not in every source. */
export interface Binaries {
  etcd: string
  kubeApiserver: string
  kubectl: string
  kubeControllerManager?: string
}

/** The version that `go build` makes; go/go.mod requires the same one. */
export const BUILD_VERSION = 'v1.36.3'

export const GO_MODULE_FOLDER = join(import.meta.dirname, 'go')

export const GO_PACKAGE: Record<Program, string> = {
  etcd: 'go.etcd.io/etcd/server/v3',
  'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
  kubectl: 'k8s.io/kubernetes/cmd/kubectl',
  'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
}

const VERSION_PACKAGE = 'k8s.io/component-base/version'

/** Without the version variables a Kubernetes program reports 0.0.0, and clients refuse features. */
export const GO_BUILD_FLAGS = [
  '-trimpath',
  '-ldflags',
  `-s -w -X ${VERSION_PACKAGE}.gitVersion=${BUILD_VERSION} -X ${VERSION_PACKAGE}.gitMajor=1 -X ${VERSION_PACKAGE}.gitMinor=36`,
] as const

export interface EnvtestArchive {
  url: string
  /** Hex. */
  sha512: string
}

export interface EnvtestPin {
  kubernetesVersion: string
  /** By platform, e.g. "linux-amd64". Values from envtest-releases.yaml of kubernetes-sigs/controller-tools. */
  archives: Record<string, EnvtestArchive>
}

export const readEnvtestPin = (): EnvtestPin => {
  const pin: EnvtestPin = JSON.parse(readFileSync(join(import.meta.dirname, 'envtest.json'), 'utf8'))
  return pin
}

/** Names a cache folder after what is in it: another pin, another folder. */
export const pinKey = (...parts: readonly string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12)

/** The folder name of what `go build` makes from the pinned module for a platform. */
export const buildCacheName = (platform: string): string => {
  const pinned = ['go.mod', 'go.sum'].map((file) => readFileSync(join(GO_MODULE_FOLDER, file), 'utf8'))
  return `${BUILD_VERSION}-${pinKey(platform, ...GO_BUILD_FLAGS, ...Object.values(GO_PACKAGE), ...pinned)}`
}

/** The folder name of an unpacked archive. */
export const downloadCacheName = (version: string, archive: EnvtestArchive): string => `${version}-${pinKey(archive.sha512)}`
