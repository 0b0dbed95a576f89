/** Options of the role `extension`. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { DEFAULT_EXTENSION_OPTIONS, type ExtensionOptions } from '../extension/options.ts'
import { addCertificateOptions, certificateOptions, type CertificateFlags } from './certificate.ts'
import { duration, objectName, port, wholeNumber } from './values.ts'

export interface ExtensionFlags extends CertificateFlags {
  host: string
  port: number
  metricsHost: string
  metricsPort: number
  authenticateClientCertificates?: true
  authenticateTokens?: true
  reviewGroup: string
  reviewResource: ExtensionOptions['reviewResource']
  reviewAuthenticatedGroup?: true
  jwtSecretName: string
  jwtIssuer: string
  jwtAudience: string
  jwtTtl: number
  newKeyUseDelay: number
  pluginEndpoints: ReadonlyMap<string, string>
  drainSeconds: number
}

const REVIEW_RESOURCES: readonly ExtensionOptions['reviewResource'][] = ['workspaces/connection', 'workspaceconnections']

const notEmpty = (text: string): string => {
  if (text.trim() === '') throw new InvalidArgumentError('It must not be empty.')
  return text
}

/** What stands before the colon of a handler in an access strategy. */
const PLUGIN_NAME = /^[\w.-]+$/

const isEndpoint = (text: string): boolean => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)

/** `name=url,name=url` */
const pluginEndpoints = (text: string): ReadonlyMap<string, string> => {
  const endpoints = new Map<string, string>()
  for (const item of text.split(',').map((part) => part.trim())) {
    if (item === '') continue
    const [, name = '', url = ''] = /^([^=]*)=(.*)$/.exec(item) ?? []
    if (!PLUGIN_NAME.test(name) || !isEndpoint(url)) throw new InvalidArgumentError('It must be names and addresses such as aws=http://plugin.example.svc:8080,other=https://…')
    if (endpoints.has(name)) throw new InvalidArgumentError(`It names ${name} twice.`)
    endpoints.set(name, url)
  }
  return endpoints
}

const HELP = `
Serves ConnectionAccessReview, WorkspaceConnection and BearerTokenReview (connection.workspace.jupyter.org) and
ConnectorAccessReview (access.connectors.alauda.io) to the API server, which calls it for the two APIServices in
manifests/extension-base. Nothing is stored. docs/connections.md has an example of each:
  kubectl create -f docs/examples/connection-access-review.yaml -o yaml
`

export const addExtensionOptions = (command: Command): Command => {
  const defaults = DEFAULT_EXTENSION_OPTIONS
  return addCertificateOptions(command, 'the two APIServices')
    .option('--host <address>', 'address to serve on', defaults.host)
    .option('--port <number>', 'TLS port to serve on; 0 takes a free one', port, defaults.port)
    .option('--authenticate-client-certificates', "also take callers that show a certificate of the cluster's client CA, not only the API server's word for who calls")
    .option('--authenticate-tokens', 'also take callers that show a bearer token; needs the right to create TokenReviews (component extension-token-review)')
    .option('--review-group <group>', 'API group of what a user must be allowed to create before he may connect', objectName, defaults.reviewGroup)
    .addOption(new Option('--review-resource <resource>', 'that resource; the second one suits roles that were made for it').choices(REVIEW_RESOURCES).default(defaults.reviewResource))
    .option('--review-authenticated-group', 'add system:authenticated to the groups that are asked about; without it what was sent is what is asked')
    .option('--jwt-secret-name <name>', 'Secret in the system namespace with the signing keys; the shipped Role allows the default alone', objectName, defaults.jwtSecretName)
    .option('--jwt-issuer <name>', 'issuer of bootstrap tokens', notEmpty, defaults.jwtIssuer)
    .option('--jwt-audience <name>', 'audience of bootstrap tokens; not that of sessions, or one could be used as the other', notEmpty, defaults.jwtAudience)
    .addOption(new Option('--jwt-ttl <duration>', 'how long a bootstrap token is good; keep TOKEN_TTL of the CronJob in step').argParser(duration('10s', '1h')).default(defaults.tokenTtlMs, '5m'))
    .addOption(new Option('--new-key-use-delay <duration>', 'how old a new key must be before tokens are signed with it').argParser(duration('0s', '10m')).default(defaults.newKeyUseDelayMs, '5s'))
    .addOption(new Option('--plugin-endpoints <name=url,…>', 'address of each plugin that connects other clients than web browsers').argParser(pluginEndpoints).default(defaults.pluginEndpoints, 'none'))
    .option('--drain-seconds <number>', 'how long to serve on after SIGTERM, until the API server calls other replicas', wholeNumber(0, 600), defaults.drainMs / 1000)
    .addHelpText('after', HELP)
}

/** @throws CodedError CONFIG_INVALID */
export const extensionOptions = (flags: ExtensionFlags): ExtensionOptions => ({
  ...DEFAULT_EXTENSION_OPTIONS,
  host: flags.host,
  port: flags.port,
  metricsHost: flags.metricsHost,
  metricsPort: flags.metricsPort,
  certificate: certificateOptions(flags, 'extension', DEFAULT_EXTENSION_OPTIONS.certificate),
  authenticateClientCertificates: flags.authenticateClientCertificates === true,
  authenticateTokens: flags.authenticateTokens === true,
  reviewGroup: flags.reviewGroup,
  reviewResource: flags.reviewResource,
  reviewAuthenticatedGroup: flags.reviewAuthenticatedGroup === true,
  jwtSecretName: flags.jwtSecretName,
  jwtIssuer: flags.jwtIssuer,
  jwtAudience: flags.jwtAudience,
  tokenTtlMs: flags.jwtTtl,
  newKeyUseDelayMs: flags.newKeyUseDelay,
  pluginEndpoints: flags.pluginEndpoints,
  drainMs: flags.drainSeconds * 1000,
})
