import path, { delimiter } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { ControllerOptions } from './controller/options.ts'
import { defaultControllerOptions } from './controller/options.ts'
import { DEFAULT_CSI_OPTIONS, type CsiOptions } from './csi/options.ts'
import { DEFAULT_WEBHOOK_OPTIONS, type WebhookOptions } from '../webhooks/options.ts'
import { subdomainProblem } from './core/name-rules.ts'
import { CodedError } from './errors.ts'

/** How a role reaches Kubernetes and what it logs. */
export interface CommonSettings {
  /** Path of a kubeconfig, or several as KUBECONFIG joins them; left out: what KUBECONFIG names, else the ServiceAccount of the Pod that it runs in. */
  kubeconfig?: string
  context?: string
  logLevel: LogLevel
}

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export type Settings =
  | { role: 'webhook'; common: CommonSettings; options: WebhookOptions }
  | { role: 'controller'; common: CommonSettings; options: ControllerOptions }
  | { role: 'csi'; common: CommonSettings; options: CsiOptions }

/** What Commander collects; names follow the options. */
interface CommonFlags {
  kubeconfig?: string
  context?: string
  logLevel: LogLevel
  metricsHost: string
  metricsPort: number
}

interface WebhookFlags extends CommonFlags {
  host: string
  port: number
  tlsCertFile?: string
  tlsKeyFile?: string
  selfSigned?: true
  clientCaFile?: string
  drainSeconds: number
}

interface ControllerFlags extends CommonFlags {
  workers: number
  leaseName: string
}

interface CsiFlags extends CommonFlags {
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

const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most) throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`)
    return value
  }

const port = wholeNumber(0, 65_535)

const objectName = (text: string): string => {
  const problem = subdomainProblem(text)
  if (problem !== undefined) throw new InvalidArgumentError(`It ${problem}.`)
  return text
}

/** The address of a unix socket holds so many bytes, its end included. */
const MAX_SOCKET_PATH = 107

const absolutePath = (text: string): string => {
  if (!path.isAbsolute(text) || path.normalize(text) !== text || text.endsWith('/'))
    throw new InvalidArgumentError('It must be an absolute path without "..", "//" or a slash at the end.')
  return text
}

const socketPath = (text: string): string => {
  if (Buffer.byteLength(text) > MAX_SOCKET_PATH) throw new InvalidArgumentError(`The path of a socket must not be longer than ${MAX_SOCKET_PATH} bytes.`)
  return absolutePath(text)
}

const common = (command: Command): Command =>
  command
    .option('--kubeconfig <files>', `kubeconfig to use, or several joined by "${delimiter}", read as one; without it KUBECONFIG, else the ServiceAccount of the Pod this runs in`)
    .option('--context <name>', 'context of the kubeconfig; without it the current one, of several files the first that names one')
    .addOption(new Option('--log-level <level>', 'least important lines that are logged').choices(LOG_LEVELS).default('info'))
    .option('--metrics-host <address>', 'address for /metrics, /healthz and /readyz over plain HTTP', '::')
    .option('--metrics-port <number>', 'port for them; 0 takes a free one', port, 8080)
    .allowExcessArguments(false)
    .showHelpAfterError('(add --help for the options)')

const commonSettings = ({ kubeconfig, context, logLevel }: CommonFlags, env: NodeJS.ProcessEnv): CommonSettings => {
  const file = kubeconfig ?? env['KUBECONFIG']
  return { logLevel, ...(file === undefined || file === '' ? {} : { kubeconfig: file }), ...(context === undefined ? {} : { context }) }
}

const webhookOptions = (flags: WebhookFlags): WebhookOptions => {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile, selfSigned, clientCaFile } = flags
  if (selfSigned === true && (certFile !== undefined || keyFile !== undefined))
    throw new CodedError('CONFIG_INVALID', 'give either --self-signed or --tls-cert-file with --tls-key-file, not both')
  const files = certFile !== undefined && keyFile !== undefined ? { kind: 'files' as const, certFile, keyFile } : undefined
  if (selfSigned !== true && files === undefined)
    throw new CodedError('CONFIG_INVALID', 'the webhook needs a certificate: give --tls-cert-file and --tls-key-file, or --self-signed')
  return {
    ...DEFAULT_WEBHOOK_OPTIONS,
    host: flags.host,
    port: flags.port,
    metricsHost: flags.metricsHost,
    metricsPort: flags.metricsPort,
    drainMs: flags.drainSeconds * 1000,
    ...(files === undefined ? {} : { certificate: files }),
    ...(clientCaFile === undefined ? {} : { clientCaFile }),
  }
}

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
  common(program.command('webhook'))
    .description('Serves the admission webhooks: keeps AccessRequests and AccessPolicies honest, and asks for access when a Pod is admitted.')
    .option('--host <address>', 'address to serve on', webhook.host)
    .option('--port <number>', 'TLS port to serve on; 0 takes a free one', port, 8443)
    .option('--tls-cert-file <file>', 'serving certificate (PEM), read again when it changes')
    .option('--tls-key-file <file>', 'its private key (PEM)')
    .option('--self-signed', 'make the certificate, share it in a Secret and keep the caBundle of the webhook configurations')
    .option('--client-ca-file <file>', 'accept only callers with a certificate of these CAs (PEM): the API server alone')
    .option('--drain-seconds <number>', 'how long to serve on after SIGTERM, until the API server calls other replicas', wholeNumber(0, 600), webhook.drainMs / 1000)
    .action((flags: WebhookFlags) => run({ role: 'webhook', common: commonSettings(flags, env), options: webhookOptions(flags) }))
  common(program.command('controller'))
    .description('Turns approvals into a Role and RoleBinding for one Pod, and removes them when the Pod ends.')
    .option('--workers <number>', 'how many requests are worked on at once', wholeNumber(1, 64), 16)
    .option('--lease-name <name>', 'Lease in the system namespace that the replicas share; the shipped Role allows the default alone', objectName, 'access-gate-controller')
    .action((flags: ControllerFlags) => run({ role: 'controller', common: commonSettings(flags, env), options: controllerOptions(flags) }))
  const csi = DEFAULT_CSI_OPTIONS
  common(program.command('csi'))
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
  return program
}
