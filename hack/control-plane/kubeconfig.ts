/** kubeconfig files of users with a token. */
import { writeFile } from 'node:fs/promises'

export interface KubeconfigFacts {
  server: string
  caPem: string
  /** Names user and context. */
  name: string
  /** Left out: the user is anonymous. */
  token?: string
  /** Whom the user speaks for in every call; it must be allowed to. */
  impersonate?: { user: string; groups: readonly string[] }
}

/** JSON is YAML; every Kubernetes client reads it. */
export const renderKubeconfig = ({ server, caPem, name, token, impersonate }: KubeconfigFacts): string =>
  `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'access-gate', cluster: { server, 'certificate-authority-data': Buffer.from(caPem).toString('base64') } }],
      users: [
        {
          name,
          user: {
            ...(token !== undefined && { token }),
            ...(impersonate !== undefined && { as: impersonate.user, 'as-groups': impersonate.groups }),
          },
        },
      ],
      contexts: [{ name, context: { cluster: 'access-gate', user: name } }],
      'current-context': name,
    },
    undefined,
    2,
  )}\n`

/** Only the owner reads it: it holds a token. */
export const writeKubeconfig = (file: string, facts: KubeconfigFacts): Promise<void> => writeFile(file, renderKubeconfig(facts), { mode: 0o600 })
