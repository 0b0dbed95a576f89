import { CommanderError } from 'commander'
import { test } from 'tap'
import { AUTH_VARIABLES } from '../src/auth/options.ts'
import { commandLine, type Settings } from '../src/command-line.ts'
import { messageOf } from '../src/errors.ts'
import { DEFAULT_EXTENSION_OPTIONS } from '../src/extension/options.ts'

interface Outcome {
  settings: Settings[]
  error?: string
  /** Whatever was written for people. */
  output: string
}

/** What comes of these arguments, without an end of this process. */
const outcomeOf = async (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> => {
  const outcome: Outcome = { settings: [], output: '' }
  const run = async (settings: Settings): Promise<void> => void outcome.settings.push(settings)
  const write = (text: string): void => void (outcome.output += text)
  const program = commandLine({ version: '1.2.3', env, run })
  for (const command of [program, ...program.commands]) command.exitOverride().configureOutput({ writeOut: write, writeErr: write })
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    outcome.error = error instanceof CommanderError ? error.message.split('\n')[0] ?? '' : messageOf(error)
  }
  return outcome
}

const OIDC = { OIDC_ISSUER_URL: 'https://issuer.example.com', OIDC_CLIENT_ID: 'workspaces', NAMESPACE: 'connectors-system' }
const PLUGINS = 'It must be names and addresses such as aws=http://plugin.example.svc:8080,other=https://…'

const WHOLE = (least: number, most: number): string => `It must be a whole number from ${least} to ${most}.`

const refused: Record<string, { args: string[]; says: string }> = {
  'an unknown command': { args: ['nope'], says: "error: unknown command 'nope'" },
  'an unknown option': { args: ['controller', '--wat'], says: "error: unknown option '--wat'" },
  'an argument too many': { args: ['controller', 'extra'], says: "error: too many arguments for 'controller'. Expected 0 arguments but got 1." },
  'an option without its value': { args: ['controller', '--workers'], says: "error: option '--workers <number>' argument missing" },
  'no worker at all': { args: ['controller', '--workers', '0'], says: `error: option '--workers <number>' argument '0' is invalid. ${WHOLE(1, 64)}` },
  'a port that is none': { args: ['webhook', '--port', '65536'], says: `error: option '--port <number>' argument '65536' is invalid. ${WHOLE(0, 65_535)}` },
  'a number written another way': { args: ['webhook', '--drain-seconds', '1e2'], says: `error: option '--drain-seconds <number>' argument '1e2' is invalid. ${WHOLE(0, 600)}` },
  'a log level that there is not': {
    args: ['webhook', '--log-level', 'loud'],
    says: "error: option '--log-level <level>' argument 'loud' is invalid. Allowed choices are debug, info, warn, error, silent.",
  },
  'a lease without a name': { args: ['controller', '--lease-name='], says: "error: option '--lease-name <name>' argument '' is invalid. It must not be empty." },
  'a webhook without a certificate': { args: ['webhook'], says: 'the webhook needs a certificate: give --tls-cert-file and --tls-key-file, or --self-signed' },
  'a certificate without its key': {
    args: ['webhook', '--tls-cert-file', 'tls.crt'],
    says: 'the webhook needs a certificate: give --tls-cert-file and --tls-key-file, or --self-signed',
  },
  'a CSI plugin without a node': { args: ['csi'], says: 'the CSI plugin must know its node: give --node-name, or NODE_NAME in the environment' },
  'a node of no possible name': { args: ['csi', '--node-name', 'Node 1'], says: 'the name of the node (--node-name, else NODE_NAME) must be lower case letters, digits, "-" and ".", beginning and ending with a letter or digit; got "Node 1"' },
  'a folder that is relative': {
    args: ['csi', '--node-name', 'n', '--kubelet-dir', 'kubelet'],
    says: `error: option '--kubelet-dir <folder>' argument 'kubelet' is invalid. It must be an absolute path without "..", "//" or a slash at the end.`,
  },
  'a folder with a way out': {
    args: ['csi', '--node-name', 'n', '--state-dir', '/var/../etc'],
    says: `error: option '--state-dir <folder>' argument '/var/../etc' is invalid. It must be an absolute path without "..", "//" or a slash at the end.`,
  },
  'a kubeconfig beside a ServiceAccount': {
    args: ['controller', '--kubeconfig', 'a', '--service-account-dir', '/account'],
    says: 'give either --kubeconfig or --service-account-dir, not both',
  },
  'two sources of a certificate': {
    args: ['webhook', '--self-signed', '--tls-key-file', 'tls.key'],
    says: 'give either --self-signed or --tls-cert-file with --tls-key-file, not both',
  },
  'an extension without a certificate': { args: ['extension'], says: 'the extension needs a certificate: give --tls-cert-file and --tls-key-file, or --self-signed' },
  'a token without an end': { args: ['extension', '--jwt-ttl', '0s'], says: "error: option '--jwt-ttl <duration>' argument '0s' is invalid. It must be a duration such as 90s or 5m, from 10s to 1h." },
  'a token that is as good as a session': { args: ['extension', '--jwt-ttl', '2h'], says: "error: option '--jwt-ttl <duration>' argument '2h' is invalid. It must be a duration such as 90s or 5m, from 10s to 1h." },
  'another resource of the review': {
    args: ['extension', '--review-resource', 'pods'],
    says: "error: option '--review-resource <resource>' argument 'pods' is invalid. Allowed choices are workspaces/connection, workspaceconnections.",
  },
  'a plugin without an address': { args: ['extension', '--plugin-endpoints', 'aws'], says: `error: option '--plugin-endpoints <name=url,…>' argument 'aws' is invalid. ${PLUGINS}` },
  'a plugin at a file': { args: ['extension', '--plugin-endpoints', 'aws=file:///etc/passwd'], says: `error: option '--plugin-endpoints <name=url,…>' argument 'aws=file:///etc/passwd' is invalid. ${PLUGINS}` },
  'a plugin that is named twice': {
    args: ['extension', '--plugin-endpoints', 'a=http://one,a=http://two'],
    says: "error: option '--plugin-endpoints <name=url,…>' argument 'a=http://one,a=http://two' is invalid. It names a twice.",
  },
  'auth without an issuer': {
    args: ['auth', '--namespace', 'connectors-system'],
    says: 'OIDC_ISSUER_URL (--oidc-issuer-url) must be set: ENABLE_OAUTH or ENABLE_LOGIN is on, and they take tokens of that issuer',
  },
  'keys of no Secret': { args: ['rotate-keys', '--secret-namespace', 'a'], says: 'SECRET_NAME must be set: it says which Secret holds the signing keys' },
}

for (const [what, { args, says }] of Object.entries(refused)) {
  await test(`${what} is refused with one sentence, and nothing runs`, async (t) => {
    const { error, settings } = await outcomeOf(args)
    t.equal(error, says)
    t.strictSame(settings, [])
  })
}

await test('the help of each command explains every option', async (t) => {
  for (const command of commandLine({ version: '1.2.3', env: {}, run: async () => undefined }).commands) {
    for (const { flags, description } of command.options) t.ok(description.length > 10, `${command.name()} ${flags}`)
    const { output } = await outcomeOf([command.name(), '--help'])
    for (const { long } of command.options) t.match(output, `${long}`)
  }
})

await test('the help says that several kubeconfigs can be named', async (t) => {
  const { output } = await outcomeOf(['controller', '--help'])
  t.match(output.replaceAll(/\s+/g, ' '), '--kubeconfig <files> kubeconfig to use, or several joined by ":", read as one')
})

await test('the webhook gets what was asked for', async (t) => {
  const { settings } = await outcomeOf(['webhook', '--tls-cert-file', 'tls.crt', '--tls-key-file', 'tls.key', '--client-ca-file', 'ca.crt', '--port', '0', '--drain-seconds', '90'])
  t.match(settings, [
    { role: 'webhook', options: { port: 0, drainMs: 90_000, clientCaFile: 'ca.crt', certificate: { kind: 'files', certFile: 'tls.crt', keyFile: 'tls.key' } } },
  ])
})

await test('the controller gets what was asked for', async (t) => {
  const { settings } = await outcomeOf(['controller', '--workers', '3', '--lease-name', 'mine', '--metrics-port', '9', '--log-level', 'warn'])
  t.match(settings, [{ role: 'controller', common: { logLevel: 'warn' }, options: { workers: 3, leaseName: 'mine', metricsPort: 9 } }])
})

const CSI = {
  endpoint: '/csi/csi.sock',
  registrationDir: '/registration',
  kubeletEndpoint: '/var/lib/kubelet/plugins/connectors-csi/csi.sock',
  kubeletDir: '/var/lib/kubelet',
  stateDir: '/csi',
  nodeName: 'node-1',
  tmpfs: false,
  wait: true,
  tokenApi: false,
  metricsHost: '::',
  metricsPort: 8080,
  maxWaiting: 500,
}

const csiOptionsOf = async (args: string[], env: NodeJS.ProcessEnv = {}): Promise<unknown> => (await outcomeOf(['csi', ...args], env)).settings[0]?.options

await test('the CSI plugin needs its node alone, and gets what was asked for', async (t) => {
  t.strictSame(await csiOptionsOf([], { NODE_NAME: 'node-1' }), CSI)
  t.strictSame(await csiOptionsOf(['--node-name', 'node-2'], { NODE_NAME: 'node-1' }), { ...CSI, nodeName: 'node-2' })
  t.strictSame(await csiOptionsOf(['--endpoint', '/run/gate/csi.sock', '--tmpfs', '--no-wait', '--token-api', '--metrics-port', '0'], { NODE_NAME: 'node-1' }), {
    ...CSI,
    endpoint: '/run/gate/csi.sock',
    stateDir: '/run/gate',
    tmpfs: true,
    wait: false,
    tokenApi: true,
    metricsPort: 0,
  })
  t.strictSame(await csiOptionsOf(['--state-dir', '/var/state', '--kubelet-dir', '/k', '--registration-dir', '/r', '--kubelet-endpoint', '/h/csi.sock'], { NODE_NAME: 'node-1' }), {
    ...CSI,
    stateDir: '/var/state',
    kubeletDir: '/k',
    registrationDir: '/r',
    kubeletEndpoint: '/h/csi.sock',
  })
})

await test('the extension gets what was asked for', async (t) => {
  const flags = ['--self-signed', '--port=0', '--metrics-port=9', '--authenticate-tokens', '--review-resource=workspaceconnections', '--review-authenticated-group']
  const more = ['--jwt-ttl=90s', '--new-key-use-delay=0s', '--plugin-endpoints', 'aws=http://plugin.example.svc:8080, other=https://other.example/x', '--drain-seconds=3']
  const { settings } = await outcomeOf(['extension', ...flags, ...more])
  t.strictSame(settings[0]?.role, 'extension')
  t.strictSame(settings[0]?.options, {
    ...DEFAULT_EXTENSION_OPTIONS,
    port: 0,
    metricsPort: 9,
    authenticateTokens: true,
    reviewResource: 'workspaceconnections',
    reviewAuthenticatedGroup: true,
    tokenTtlMs: 90_000,
    newKeyUseDelayMs: 0,
    pluginEndpoints: new Map([
      ['aws', 'http://plugin.example.svc:8080'],
      ['other', 'https://other.example/x'],
    ]),
    drainMs: 3_000,
  })
})

await test('the extension of the shipped manifests has the defaults, but for its certificate', async (t) => {
  const { settings } = await outcomeOf(['extension', '--tls-cert-file', 'tls.crt', '--tls-key-file', 'tls.key'])
  t.strictSame(settings[0]?.options, { ...DEFAULT_EXTENSION_OPTIONS, certificate: { kind: 'files', certFile: 'tls.crt', keyFile: 'tls.key' } })
})

await test('every setting of auth is an option, whose help names the variable', async (t) => {
  const { output } = await outcomeOf(['auth', '--help'])
  for (const variable of AUTH_VARIABLES) t.match(output, new RegExp(`--${variable.toLowerCase().replaceAll('_', '-')} <[^>]+> .*\\(${variable}\\)`), variable)
})

await test('auth takes its settings from the environment, and from an option before that', async (t) => {
  const fromEnvironment = await outcomeOf(['auth'], { ...OIDC, PORT: '81', JWT_EXPIRATION: '2h', ENABLE_LOGIN: 'true' })
  t.match(fromEnvironment.settings, [{ role: 'auth', options: { port: 81, jwt: { ttlMs: 7_200_000 }, enableLogin: true, namespace: 'connectors-system' } }])
  const fromOptions = await outcomeOf(['auth', '--port', '0', '--jwt-expiration=30m', '--enable-login', 'false'], { ...OIDC, PORT: '81', JWT_EXPIRATION: '2h', ENABLE_LOGIN: 'true' })
  t.match(fromOptions.settings, [{ role: 'auth', options: { port: 0, jwt: { ttlMs: 1_800_000 }, enableLogin: false } }])
})

await test('the job of the keys takes its settings from the environment, and from an option before that', async (t) => {
  const env = { SECRET_NAME: 'keys', SECRET_NAMESPACE: 'a', TOKEN_TTL: '1h', ROTATION_INTERVAL: '15m' }
  const asked = async (args: string[]): Promise<unknown> => (await outcomeOf(['rotate-keys', ...args], env)).settings[0]?.options
  t.strictSame(await asked([]), { namespace: 'a', secretName: 'keys', keep: 5, tokenTtlMs: 3_600_000, dryRun: false })
  t.strictSame(await asked(['--secret-name', 'others', '--token-ttl', '5m', '--number-of-keys', '3', '--dry-run']), { namespace: 'a', secretName: 'others', keep: 3, tokenTtlMs: 300_000, dryRun: true })
})

const kubeconfigs: Record<string, { args: string[]; env: NodeJS.ProcessEnv; common: object }> = {
  'the option goes before the environment': { args: ['--kubeconfig', 'a', '--context', 'c'], env: { KUBECONFIG: 'b' }, common: { logLevel: 'info', kubeconfig: 'a', context: 'c' } },
  'the environment is next': { args: [], env: { KUBECONFIG: 'b' }, common: { logLevel: 'info', kubeconfig: 'b' } },
  'several are handed on together': { args: [], env: { KUBECONFIG: 'a:b' }, common: { logLevel: 'info', kubeconfig: 'a:b' } },
  'also as an option': { args: ['--kubeconfig', 'a:b'], env: {}, common: { logLevel: 'info', kubeconfig: 'a:b' } },
  'an empty variable is none, and the Pod speaks for itself': { args: [], env: { KUBECONFIG: '' }, common: { logLevel: 'info', inCluster: { host: undefined, port: undefined } } },
  'in a Pod its environment says where the API server is': {
    args: [],
    env: { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' },
    common: { logLevel: 'info', inCluster: { host: 'fd00::1', port: '443' } },
  },
  'the folder of a ServiceAccount goes before the environment': {
    args: ['--service-account-dir', '/account'],
    env: { KUBECONFIG: 'b', KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '443' },
    common: { logLevel: 'info', inCluster: { serviceAccountDir: '/account', host: '10.0.0.1', port: '443' } },
  },
}

for (const [what, { args, env, common }] of Object.entries(kubeconfigs)) {
  await test(`which kubeconfig: ${what}`, async (t) => {
    const { settings } = await outcomeOf(['controller', ...args], env)
    t.strictSame(settings.map((asked) => asked.common), [common])
  })
}
