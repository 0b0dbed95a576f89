/** `npm start`: a control plane on this machine with access-gate in it, until Ctrl-C. */
import { copyFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import { messageOf } from '../src/errors.ts'
import { ControlPlaneFailure } from './control-plane/failure.ts'
import { takeLock } from './control-plane/lock.ts'
import { createProgress } from './control-plane/progress.ts'
import type { Binaries } from './control-plane/programs.ts'
import { resolveBinaries } from './control-plane/resolve.ts'
import { startControlPlane } from './control-plane/start.ts'
import { resolveNode, type NodePrograms } from './node/programs.ts'
import type { RunningNode } from './node/start.ts'
import { APPROVAL_CONTROLLER } from './sandbox/approval-project.ts'
import { startConnections, TEAM, WORKSPACES_HOST, type Connections } from './sandbox/connections.ts'
import { aborted, clusterUntil, endingSignal, whileStarting } from './sandbox/ending.ts'
import { applySamples } from './sandbox/manifests.ts'
import { startPluginNode } from './sandbox/plugin-node.ts'
import { startSandbox } from './sandbox/sandbox.ts'

interface Options {
  port?: number
  keep?: true
  node?: true
  extension?: true
}

const SANDBOX = fileURLToPath(new URL('../.sandbox', import.meta.url))

const print = (line: string): void => void process.stdout.write(`${line}\n`)

const readPort = (text: string): number => {
  const port = Number(text)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new InvalidArgumentError('It must be a whole number from 1 to 65535.')
  return port
}

const APPROVE = `k patch approvaltask deploy-prod -n cicd --subresource=status --type=merge -p '{"status":{"state":"approved"}}' --as=${APPROVAL_CONTROLLER}`

const withoutNode = [
  'k apply -f docs/examples/pod.yaml && k get accessrequests -A',
  'k apply -f docs/examples/approval-task.yaml && k get areq -A -o wide',
  `${APPROVE} && k wait areq -n connectors-shared --all --for=condition=Ready`,
  'k get roles,rolebindings -n connectors-shared && k delete pod build-pod-7x9k2 -n cicd --wait=false && k get events -n connectors-shared',
]

const withNode = [
  'k apply -f hack/sandbox/node-pod.yaml; sleep 3; k get pods,events -n cicd',
  'k apply -f docs/examples/approval-task.yaml && k get areq -A -o wide',
  `${APPROVE} && k wait pod build-on-node -n cicd --for=jsonpath='{.status.phase}'=Running && k logs build-on-node -n cicd`,
  'k exec build-on-node -n cicd -- /workload cat -message= /connectors/harbor/connector.status.proxyAddress',
  'k get roles,rolebindings -n connectors-shared && k delete pod build-on-node -n cicd && k get events -n connectors-shared',
]

const USERS = ['alice', 'bob']
const idTokenFile = (user: string): string => `${SANDBOX}/${user}.id-token`

const bearer = (user: string): string => `"Authorization: Bearer $(cat .sandbox/${user}.id-token)"`

/** What the reverse proxy would ask for a browser, by curl: `ask <route> <path of the browser> <header>`. */
const withExtension = ({ authUrl }: Connections): string[] => {
  const own = `/workspaces/${TEAM}/alice-workspace`
  return [
    'k create -f docs/examples/connection-access-review.yaml -o yaml; k create -f docs/examples/connector-access-review.yaml -o yaml',
    'k create -f docs/examples/workspace-connection.yaml -o yaml --as=alice; k create -f docs/examples/workspace-connection.yaml -o yaml --as=bob',
    'k explain connectionaccessreview.spec',
    `ask() { curl -si -H X-Forwarded-Proto:https -H X-Forwarded-Host:${WORKSPACES_HOST} -H "X-Forwarded-Uri: $2" -H "$3" "${authUrl}/$1"; }`,
    `ask auth ${own} ${bearer('alice')}; ask auth ${own} ${bearer('bob')}`,
    `SESSION=$(ask auth ${own} ${bearer('alice')} | tr -d '\\r' | sed -n 's/^set-cookie: \\([^;]*\\).*/\\1/p')`,
    `ask verify ${own}/lab "Cookie: $SESSION"; ask verify /workspaces/${TEAM}/shared-workspace "Cookie: $SESSION"`,
  ]
}

const commandsToTry = (kubectl: string, hasNode: boolean, connections: Connections | undefined): string[] => [
  `alias k='${kubectl} --kubeconfig .sandbox/kubeconfig'`,
  ...(hasNode ? withNode : withoutNode),
  ...(connections === undefined ? [] : withExtension(connections)),
]

/** One at a time in a folder: the kubeconfig there belongs to the one that runs. */
const claimSandbox = async (): Promise<() => Promise<void>> => {
  const release = await takeLock(`${SANDBOX}/.lock`, { wait: false })
  if (release === undefined) throw new ControlPlaneFailure('npm start runs in this folder already; end that one, or use another copy of the project')
  return release
}

interface Found {
  binaries: Binaries
  /** With --node. */
  nodePrograms: NodePrograms | undefined
}

const runSandbox = async ({ port, keep, extension }: Options, { binaries, nodePrograms }: Found, ending: AbortSignal): Promise<void> => {
  const controlPlane = await whileStarting(ending, (signal) =>
    startControlPlane({
      binaries,
      log: print,
      signal,
      ...(port === undefined ? {} : { apiPort: port }),
      ...(keep === true ? { dataDir: `${SANDBOX}/data` } : {}),
    }),
  )
  try {
    const cluster = clusterUntil(ending, controlPlane)
    const sandbox = await startSandbox({ cluster, log: print, signal: ending })
    let node: RunningNode | undefined
    let connections: Connections | undefined
    try {
      await applySamples(cluster)
      print('samples applied: Connector connectors-shared/prod-harbor, a policy for it, ServiceAccount cicd/builder; both feature flags are on')
      node = nodePrograms === undefined ? undefined : await startPluginNode({ cluster, programs: nodePrograms, log: print, signal: ending, logLevel: 'info' })
      connections = extension === true ? await startConnections({ cluster: controlPlane, log: print, signal: ending, logLevel: 'info' }) : undefined
      if (connections !== undefined) for (const user of USERS) await writeFile(idTokenFile(user), await connections.idToken(user), { mode: 0o600 })
      await copyFile(controlPlane.adminKubeconfig, `${SANDBOX}/kubeconfig`)
      print('kubeconfig written: .sandbox/kubeconfig')
      print('ready: try these, in another terminal in this folder; Ctrl-C ends everything')
      for (const command of commandsToTry(binaries.kubectl, node !== undefined, connections)) print(`  ${command}`)
      const keepAlive = setInterval(() => undefined, 60_000)
      const deaths = [controlPlane.died, sandbox.webhook.failed, sandbox.controller.failed, ...(node === undefined ? [] : [node.died]), ...(connections === undefined ? [] : [connections.extension.failed, connections.auth.failed])]
      const death = await Promise.race([aborted(ending), ...deaths])
      clearInterval(keepAlive)
      if (death !== undefined) throw new Error(death)
      print('stopping')
    } finally {
      await Promise.all([node?.stop(), sandbox.stop(), connections?.stop()])
    }
  } finally {
    await controlPlane.stop()
    for (const file of [`${SANDBOX}/kubeconfig`, ...USERS.map(idTokenFile)]) await rm(file, { force: true })
  }
}

const run = async (options: Options): Promise<void> => {
  const ending = endingSignal()
  const work = { progress: createProgress(process.stdout), signal: ending }
  // First what may be missing, before a control plane is built for nothing.
  const nodePrograms = options.node === true ? await resolveNode(work) : undefined
  const { binaries } = await resolveBinaries(work)
  const release = await claimSandbox()
  try {
    await runSandbox(options, { binaries, nodePrograms }, ending)
  } finally {
    await release()
  }
}

const program = new Command('npm start --')
  .description('Runs a control plane on this machine with access-gate in it, until Ctrl-C. A cluster of yours is never touched: KUBECONFIG is ignored.')
  .option('--port <number>', 'port of the API server (otherwise a free one)', readPort)
  .option('--keep', 'keep the data in .sandbox/data, so that a restart finds it again')
  .option('--node', 'add a kubelet and the CSI plugin, so that Pods run; needs Linux, root, containerd and runc (npm run node -- --help)')
  .option('--extension', 'add the reviews and the guard of web traffic: two Workspaces, two users and an OIDC issuer')
  .allowExcessArguments(false)
  .showHelpAfterError('(add --help for the options)')

try {
  await run(program.parse().opts<Options>())
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 1
}
