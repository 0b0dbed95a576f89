import { delimiter } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { ControllerOptions } from './controller/options.ts'
import { defaultControllerOptions } from './controller/options.ts'
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

export type Settings = { role: 'webhook'; common: CommonSettings; options: WebhookOptions } | { role: 'controller'; common: CommonSettings; options: ControllerOptions }

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
  return program
}
