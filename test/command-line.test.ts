import { CommanderError } from 'commander'
import { test } from 'tap'
import { commandLine, type Settings } from '../src/command-line.ts'
import { messageOf } from '../src/errors.ts'

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
  'two sources of a certificate': {
    args: ['webhook', '--self-signed', '--tls-key-file', 'tls.key'],
    says: 'give either --self-signed or --tls-cert-file with --tls-key-file, not both',
  },
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

const kubeconfigs: Record<string, { args: string[]; env: NodeJS.ProcessEnv; common: object }> = {
  'the option goes before the environment': { args: ['--kubeconfig', 'a', '--context', 'c'], env: { KUBECONFIG: 'b' }, common: { logLevel: 'info', kubeconfig: 'a', context: 'c' } },
  'the environment is next': { args: [], env: { KUBECONFIG: 'b' }, common: { logLevel: 'info', kubeconfig: 'b' } },
  'several are handed on together': { args: [], env: { KUBECONFIG: 'a:b' }, common: { logLevel: 'info', kubeconfig: 'a:b' } },
  'also as an option': { args: ['--kubeconfig', 'a:b'], env: {}, common: { logLevel: 'info', kubeconfig: 'a:b' } },
  'an empty variable is none': { args: [], env: { KUBECONFIG: '' }, common: { logLevel: 'info' } },
}

for (const [what, { args, env, common }] of Object.entries(kubeconfigs)) {
  await test(`which kubeconfig: ${what}`, async (t) => {
    const { settings } = await outcomeOf(['controller', ...args], env)
    t.strictSame(settings.map((asked) => asked.common), [common])
  })
}
