import path, { delimiter } from 'node:path'
import { Command, Option } from 'commander'
import type { AuthOptions } from './auth/options.ts'
import { addAuthOptions, authOptions, type AuthFlags } from './command-line/auth.ts'
import { addCertificateOptions, certificateOptions, type CertificateFlags } from './command-line/certificate.ts'
import { addExtensionOptions, extensionOptions, type ExtensionFlags } from './command-line/extension.ts'
import { addRotateKeysOptions, readRotateKeysOptions, type RotateKeysFlags } from './command-line/rotate-keys.ts'
import { absolutePath, objectName, port, socketPath, wholeNumber } from './command-line/values.ts'
import type { ControllerOptions } from './controller/options.ts'
import { defaultControllerOptions } from './controller/options.ts'
import { DEFAULT_CSI_OPTIONS, type CsiOptions } from './csi/options.ts'
import { DEFAULT_WEBHOOK_OPTIONS, type WebhookOptions } from '../webhooks/options.ts'
import { subdomainProblem } from './core/name-rules.ts'
import { CodedError } from './errors.ts'
import type { ExtensionOptions } from './extension/options.ts'
import type { RotateKeysOptions } from './jwt/rotate-keys.ts'
import type { InClusterOptions } from './kube/in-cluster.ts'

/** How a role reaches Kubernetes and what it logs. */
export interface CommonSettings {
  /** Path of a kubeconfig, or several as KUBECONFIG joins them; left out: what KUBECONFIG names, else the ServiceAccount of the Pod that it runs in. */
  kubeconfig?: string
  context?: string
  /** Set when there is no kubeconfig. */
  inCluster?: InClusterOptions
  logLevel: LogLevel
}

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export type Settings =
  | { role: 'webhook'; common: CommonSettings; options: WebhookOptions }
  | { role: 'controller'; common: CommonSettings; options: ControllerOptions }
  | { role: 'csi'; common: CommonSettings; options: CsiOptions }
  | { role: 'extension'; common: CommonSettings; options: ExtensionOptions }
  | { role: 'auth'; common: CommonSettings; options: AuthOptions }
  | { role: 'rotate-keys'; common: CommonSettings; options: RotateKeysOptions }

/** What Commander collects; names follow the options. */
interface CommonFlags {
  kubeconfig?: string
  context?: string
  serviceAccountDir?: string
  logLevel: LogLevel
}

interface ServingFlags extends CommonFlags {
  metricsHost: string
  metricsPort: number
}

interface WebhookFlags extends ServingFlags, CertificateFlags {
  host: string
  port: number
  clientCaFile?: string
  drainSeconds: number
}

interface ControllerFlags extends ServingFlags {
  workers: number
  leaseName: string
}

interface CsiFlags extends ServingFlags {
  nodeName?: string
  endpoint: string
  registrationDir: string
  kubeletEndpoint: string
  kubeletDir: string
  stateDir?: string
  tmpfs?: true
  wait: boolean
  tokenApi?: true
}

const common = (command: Command): Command =>
  command
    .option('--kubeconfig <files>', `kubeconfig to use, or several joined by "${delimiter}", read as one; without it KUBECONFIG, else the ServiceAccount of the Pod this runs in`)
    .option('--context <name>', 'context of the kubeconfig; without it the current one, of several files the first that names one')
    .option('--service-account-dir <folder>', 'use the ServiceAccount whose token and ca.crt are kept here, with KUBERNETES_SERVICE_HOST and _PORT; without it the folder of the Pod', absolutePath)
    .addOption(new Option('--log-level <level>', 'least important lines that are logged').choices(LOG_LEVELS).default('info'))
    .allowExcessArguments(false)
    .showHelpAfterError('(add --help for the options)')

const serving = (command: Command): Command =>
  common(command)
    .option('--metrics-host <address>', 'address for /metrics, /healthz and /readyz over plain HTTP', '::')
    .option('--metrics-port <number>', 'port for them; 0 takes a free one', port, 8080)

const commonSettings = ({ kubeconfig, context, serviceAccountDir, logLevel }: CommonFlags, env: NodeJS.ProcessEnv): CommonSettings => {
  if (kubeconfig !== undefined && serviceAccountDir !== undefined) throw new CodedError('CONFIG_INVALID', 'give either --kubeconfig or --service-account-dir, not both')
  const file = kubeconfig ?? (serviceAccountDir === undefined ? (env['KUBECONFIG'] ?? '') : '')
  if (file !== '') return { logLevel, kubeconfig: file, ...(context === undefined ? {} : { context }) }
  const inCluster = { host: env['KUBERNETES_SERVICE_HOST'], port: env['KUBERNETES_SERVICE_PORT'], ...(serviceAccountDir === undefined ? {} : { serviceAccountDir }) }
  return { logLevel, inCluster }
}

const webhookOptions = (flags: WebhookFlags): WebhookOptions => ({
  ...DEFAULT_WEBHOOK_OPTIONS,
  host: flags.host,
  port: flags.port,
  metricsHost: flags.metricsHost,
  metricsPort: flags.metricsPort,
  certificate: certificateOptions(flags, 'webhook', DEFAULT_WEBHOOK_OPTIONS.certificate),
  drainMs: flags.drainSeconds * 1000,
  ...(flags.clientCaFile === undefined ? {} : { clientCaFile: flags.clientCaFile }),
})

const controllerOptions = (flags: ControllerFlags): ControllerOptions => ({
  ...defaultControllerOptions(),
  metricsHost: flags.metricsHost,
  metricsPort: flags.metricsPort,
  workers: flags.workers,
  leaseName: flags.leaseName,
})

const csiOptions = (flags: CsiFlags, env: NodeJS.ProcessEnv): CsiOptions => {
  const nodeName = flags.nodeName ?? env['NODE_NAME'] ?? ''
  if (nodeName === '') throw new CodedError('CONFIG_INVALID', 'the CSI plugin must know its node: give --node-name, or NODE_NAME in the environment')
  const problem = subdomainProblem(nodeName)
  if (problem !== undefined) throw new CodedError('CONFIG_INVALID', `the name of the node (--node-name, else NODE_NAME) ${problem}`)
  return {
    ...DEFAULT_CSI_OPTIONS,
    nodeName,
    endpoint: flags.endpoint,
    registrationDir: flags.registrationDir,
    kubeletEndpoint: flags.kubeletEndpoint,
    kubeletDir: flags.kubeletDir,
    stateDir: flags.stateDir ?? path.dirname(flags.endpoint),
    tmpfs: flags.tmpfs === true,
    wait: flags.wait,
    tokenApi: flags.tokenApi === true,
    metricsHost: flags.metricsHost,
    metricsPort: flags.metricsPort,
  }
}

export interface CommandLine {
  version: string
  env: NodeJS.ProcessEnv
  /** Called with the settings of the role that was asked for. */
  run: (settings: Settings) => Promise<void>
}

/** The command line: a command for each role. Says what is wrong with an option in one sentence and exits with 1. */
export const commandLine = ({ version, env, run }: CommandLine): Command => {
  const program = new Command('access-gate')
    .description('Grants a Pod the use of a shared Connector after its approval checks, for as long as the Pod lives.')
    .version(version)
    .showHelpAfterError('(add --help for the commands)')
    .addHelpText('after', '\nEach command is one role, with a ServiceAccount of its own: see docs/install.md and docs/operations.md.')
  const webhook: WebhookOptions = DEFAULT_WEBHOOK_OPTIONS
  addCertificateOptions(serving(program.command('webhook')), 'the webhook configurations')
    .description('Serves the admission webhooks: keeps AccessRequests and AccessPolicies honest, and asks for access when a Pod is admitted.')
    .option('--host <address>', 'address to serve on', webhook.host)
    .option('--port <number>', 'TLS port to serve on; 0 takes a free one', port, 8443)
    .option('--client-ca-file <file>', 'accept only callers with a certificate of these CAs (PEM): the API server alone')
    .option('--drain-seconds <number>', 'how long to serve on after SIGTERM, until the API server calls other replicas', wholeNumber(0, 600), webhook.drainMs / 1000)
    .action((flags: WebhookFlags) => run({ role: 'webhook', common: commonSettings(flags, env), options: webhookOptions(flags) }))
  serving(program.command('controller'))
    .description('Turns approvals into a Role and RoleBinding for one Pod, and removes them when the Pod ends.')
    .option('--workers <number>', 'how many requests are worked on at once', wholeNumber(1, 64), 16)
    .option('--lease-name <name>', 'Lease in the system namespace that the replicas share; the shipped Role allows the default alone', objectName, 'access-gate-controller')
    .action((flags: ControllerFlags) => run({ role: 'controller', common: commonSettings(flags, env), options: controllerOptions(flags) }))
  const csi = DEFAULT_CSI_OPTIONS
  serving(program.command('csi'))
    .description('Runs on each node: mounts Connectors into Pods once they may use them, and waits for the approval inside the mount.')
    .option('--node-name <name>', 'node that this runs on, as the API server calls it; without it NODE_NAME')
    .option('--endpoint <socket>', 'CSI socket to serve on', socketPath, csi.endpoint)
    .option('--kubelet-endpoint <socket>', 'the same socket as kubelet sees it, on the host', socketPath, csi.kubeletEndpoint)
    .option('--registration-dir <folder>', 'plugins_registry of kubelet, where the plugin makes itself known', absolutePath, csi.registrationDir)
    .option('--kubelet-dir <folder>', "root folder of kubelet, mounted here under the host's path: volumes lie below it", absolutePath, csi.kubeletDir)
    .option('--state-dir <folder>', 'where to remember what is mounted and asked for; without it the folder of the CSI socket', absolutePath)
    .option('--tmpfs', "keep the files of volumes in memory instead of on the node's disk; needs a privileged container and mount propagation")
    .option('--no-wait', "refuse a mount that is not allowed yet instead of waiting inside it; the Pod then starts at kubelet's next try, up to two minutes late")
    .option('--token-api', 'make tokens with the lifetime or audience that a volume asks for; needs the right to create serviceaccounts/token')
    .addHelpText(
      'after',
      `
A Pod that waits says in its Events what it waits for. The DaemonSet in manifests/ sets the paths; in a Pod of your own mount
  <kubelet root>/plugins/connectors-csi  at  /csi            <kubelet root>/plugins_registry  at  /registration
  <kubelet root>/pods                    at  the same path   (with --tmpfs: mountPropagation: Bidirectional)
`,
    )
    .action((flags: CsiFlags) => run({ role: 'csi', common: commonSettings(flags, env), options: csiOptions(flags, env) }))
  addExtensionOptions(serving(program.command('extension')))
    .description('Serves reviews as part of the Kubernetes API: may this user connect to that Workspace, would this ServiceAccount get that Connector?')
    .action((flags: ServingFlags & ExtensionFlags) => run({ role: 'extension', common: commonSettings(flags, env), options: extensionOptions(flags) }))
  addAuthOptions(common(program.command('auth')))
    .description('Guards the web traffic of Workspaces behind a reverse proxy: signs people in, and says of each request whether it may pass.')
    .action((flags: CommonFlags & AuthFlags) => run({ role: 'auth', common: commonSettings(flags, env), options: authOptions(flags, env) }))
  addRotateKeysOptions(common(program.command('rotate-keys')))
    .description('Puts a new signing key into a Secret, takes out those that nothing needs any more, and ends.')
    .action((flags: CommonFlags & RotateKeysFlags) => run({ role: 'rotate-keys', common: commonSettings(flags, env), options: readRotateKeysOptions(flags, env) }))
  return program
}
