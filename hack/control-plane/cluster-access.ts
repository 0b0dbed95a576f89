/** What a developer or a test does with a running control plane. Used by the one that started it and by test processes. */
import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { callApi, readAnswer, type ApiAnswer } from './api-call.ts'
import { ControlPlaneFailure } from './failure.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import { run } from './run.ts'

/** How to reach a control plane; plain data, so that a file can carry it to another process. */
export interface ClusterDescription {
  server: string
  caPem: string
  adminToken: string
  adminKubeconfig: string
  /** The kubectl program. */
  kubectlPath: string
  /** For kubeconfig files and kubectl's cache; gone with the control plane. */
  workDir: string
  hasControllerManager: boolean
}

export interface KubectlOptions {
  /** Standard input, for `-f -`. */
  input?: string
  /** Added to the environment. */
  env?: Record<string, string>
  /** Left out: the administrator's. */
  kubeconfig?: string
  /** Give back an exit code other than 0 instead of throwing. */
  allowFailure?: boolean
  signal?: AbortSignal
}

export interface KubectlResult {
  stdout: string
  stderr: string
  code: number
}

export interface TokenOptions {
  /** Left out: the API server itself. */
  audiences?: string[]
  /** The API server refuses less than 600. */
  seconds?: number
}

export interface ClusterAccess {
  /** Runs kubectl; the user's own KUBECONFIG, cache and preferences play no part. @throws Error with what kubectl said, unless allowFailure */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<KubectlResult>
  /** One call as the administrator; any status is an answer. */
  call(method: string, path: string, body?: object, contentType?: string): Promise<ApiAnswer>
  /** A fresh token of a ServiceAccount that exists. */
  serviceAccountToken(namespace: string, name: string, options?: TokenOptions): Promise<string>
  /** Writes a kubeconfig for a user with this token (without: anonymous). @returns its path */
  kubeconfigFor(user: { token?: string; name: string }): Promise<string>
  /** Makes a fresh namespace whose name begins with the prefix. @returns its name, once its default ServiceAccount is there */
  namespace(prefix: string): Promise<string>
}

const POLL_MS = 50
const SERVICE_ACCOUNT_MS = 90_000

/** Asks again and again until something is there. @throws ControlPlaneFailure after the bound */
export const waitFor = async (what: string, boundMs: number, isThere: () => Promise<boolean>): Promise<void> => {
  const end = Date.now() + boundMs
  while (!(await isThere())) {
    if (Date.now() > end) throw new ControlPlaneFailure(`${what} was not there within ${boundMs / 1000} s`)
    await delay(POLL_MS)
  }
}

export const createClusterAccess = (cluster: ClusterDescription): ClusterAccess => {
  const { server, caPem, adminToken, adminKubeconfig, kubectlPath, workDir } = cluster
  const target = { server, caPem, token: adminToken }

  const call: ClusterAccess['call'] = (method, path, body, contentType) => callApi(target, method, path, body, contentType)

  return {
    call,

    kubectl: async (args, { input, env, kubeconfig = adminKubeconfig, allowFailure = false, signal } = {}) => {
      const result = await run(kubectlPath, args, {
        env: { ...process.env, KUBECACHEDIR: join(workDir, 'kubectl-cache'), KUBERC: 'off', ...env, KUBECONFIG: kubeconfig },
        ...(input !== undefined && { input }),
        ...(signal !== undefined && { signal }),
      })
      if (result.code !== 0 && !allowFailure) throw new Error(`kubectl ${args.join(' ')} ended with ${result.code}: ${result.stderr.trim()}`)
      return result
    },

    serviceAccountToken: async (namespace, name, { audiences, seconds = 3600 } = {}) => {
      const spec = { expirationSeconds: seconds, ...(audiences !== undefined && { audiences }) }
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`
      const answer = await call('POST', path, { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec })
      const review: { status: { token: string } } = JSON.parse(readAnswer(answer, `token of ${namespace}/${name}`))
      return review.status.token
    },

    kubeconfigFor: async ({ token, name }) => {
      const folder = join(workDir, 'kubeconfigs')
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const file = join(folder, `${name.replaceAll(/[^\w.-]/g, '_')}-${randomBytes(4).toString('hex')}.json`)
      await writeKubeconfig(file, { server, caPem, name, ...(token !== undefined && { token }) })
      return file
    },

    namespace: async (prefix) => {
      const metadata = { generateName: `${prefix}-` }
      const answer = await call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata })
      const made: { metadata: { name: string } } = JSON.parse(readAnswer(answer, `namespace ${prefix}`))
      const { name } = made.metadata
      const serviceAccount = `/api/v1/namespaces/${name}/serviceaccounts/default`
      await waitFor(`the default ServiceAccount of ${name}`, SERVICE_ACCOUNT_MS, async () => (await call('GET', serviceAccount)).status === 200)
      return name
    },
  }
}
