/** A ServiceAccount as kubelet hands it to a Pod: the roles that are measured read it as they do in a cluster, without a kubeconfig. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface Account {
  server: string
  caPem: string
  token: string
}

export interface PodAccount {
  /** Variables of the environment, as in every Pod. */
  env: { KUBERNETES_SERVICE_HOST: string; KUBERNETES_SERVICE_PORT: string }
  /** Options of the role. */
  args: string[]
}

/** Only the owner reads it: it holds a token. */
export const writePodAccount = async (folder: string, { server, caPem, token }: Account): Promise<PodAccount> => {
  const { hostname, port } = new URL(server)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFile(join(folder, 'token'), token, { mode: 0o600 })
  await writeFile(join(folder, 'ca.crt'), caPem)
  return { env: { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port }, args: [`--service-account-dir=${folder}`] }
}
