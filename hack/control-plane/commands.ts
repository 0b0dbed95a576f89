/** The command lines of the programs. Pure. */
import type { Credentials } from './credentials.ts'
import { PROXY_CLIENT_NAME } from './credentials.ts'

export const SERVICE_NETWORK = '10.0.0.0/24'
export const API_SERVICE_IP = '10.0.0.1'

/**
 * etcd listens on sockets in its folder, so that nobody else on the machine reaches the data and no port can be taken.
 * It insists on the form host:port, which names a file in the working folder.
 */
const ETCD_CLIENT = 'unix://etcd-client:1'
const ETCD_PEER = 'unix://etcd-peer:1'

export const etcdArguments = (): string[] => [
  '--name=control-plane',
  '--data-dir=etcd',
  '--unsafe-no-fsync',
  '--log-level=warn',
  `--listen-client-urls=${ETCD_CLIENT}`,
  `--advertise-client-urls=${ETCD_CLIENT}`,
  `--listen-peer-urls=${ETCD_PEER}`,
  `--initial-advertise-peer-urls=${ETCD_PEER}`,
  `--initial-cluster=control-plane=${ETCD_PEER}`,
]

export interface ApiServerSettings {
  port: number
  credentials: Credentials
  audit?: { policyFile: string; logFile: string }
  /** Added at the end. */
  more?: readonly string[]
}

export const apiServerArguments = ({ port, credentials, audit, more = [] }: ApiServerSettings): string[] => [
  `--etcd-servers=${ETCD_CLIENT}`,
  '--bind-address=127.0.0.1',
  // A loopback address may not be an endpoint of the Service "kubernetes", and a machine may have no other.
  '--advertise-address=127.0.0.1',
  '--endpoint-reconciler-type=none',
  `--secure-port=${port}`,
  `--tls-cert-file=${credentials.serving.certFile}`,
  `--tls-private-key-file=${credentials.serving.keyFile}`,
  `--service-cluster-ip-range=${SERVICE_NETWORK}`,
  '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
  `--service-account-key-file=${credentials.serviceAccountPublicKeyFile}`,
  `--service-account-signing-key-file=${credentials.serviceAccountKeyFile}`,
  '--authorization-mode=RBAC',
  `--token-auth-file=${credentials.tokenFile}`,
  // The CSI plugin's DaemonSet is privileged.
  '--allow-privileged=true',
  `--requestheader-client-ca-file=${credentials.requestHeaderCa.certFile}`,
  `--requestheader-allowed-names=${PROXY_CLIENT_NAME}`,
  '--requestheader-username-headers=X-Remote-User',
  '--requestheader-group-headers=X-Remote-Group',
  '--requestheader-extra-headers-prefix=X-Remote-Extra-',
  `--proxy-client-cert-file=${credentials.proxyClient.certFile}`,
  `--proxy-client-key-file=${credentials.proxyClient.keyFile}`,
  // A kubelet of this machine listens on loopback, which only its node's name, "localhost", leads to.
  '--kubelet-preferred-address-types=Hostname',
  `--kubelet-client-certificate=${credentials.kubeletClient.certFile}`,
  `--kubelet-client-key=${credentials.kubeletClient.keyFile}`,
  ...(audit === undefined ? [] : [`--audit-policy-file=${audit.policyFile}`, `--audit-log-path=${audit.logFile}`]),
  ...more,
]

/** Of all controllers those that a Pod-less control plane needs. Not the Pod collector: it removes Pods whose node does not exist, as in tests. */
const CONTROLLERS = [
  'serviceaccount-controller',
  'serviceaccount-token-controller',
  'root-ca-certificate-publisher-controller',
  'namespace-controller',
  'garbage-collector-controller',
  'clusterrole-aggregation-controller',
  'validatingadmissionpolicy-status-controller',
]

export const controllerManagerArguments = (kubeconfig: string, credentials: Credentials): string[] => [
  `--kubeconfig=${kubeconfig}`,
  `--controllers=${CONTROLLERS.join(',')}`,
  '--use-service-account-credentials',
  `--service-account-private-key-file=${credentials.serviceAccountKeyFile}`,
  `--root-ca-file=${credentials.ca.certFile}`,
  '--leader-elect=false',
  // No port of its own: nobody asks for its metrics.
  '--secure-port=0',
]

/** Who did what, without bodies: they may hold tokens and Secrets. */
export const AUDIT_POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
`
