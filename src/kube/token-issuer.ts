import { KubeError } from './kube-error.ts'
import { objectPath } from './paths.ts'
import type { Resource, TokenIssuer } from './ports.ts'
import type { Call, Requester } from './transport.ts'

const SERVICE_ACCOUNTS: Resource = { apiVersion: 'v1', kind: 'ServiceAccount', plural: 'serviceaccounts', namespaced: true }

const field = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined)

/** Tokens by the TokenRequest API. Its answer is never part of an error. */
export const tokenIssuer = (api: Requester): TokenIssuer => ({
  issueToken: async ({ serviceAccount: { namespace, name }, pod, audience, seconds }) => {
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { audiences: [audience], expirationSeconds: seconds, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid } },
    }
    // A token is signed and not stored, so it may be asked for twice.
    const call: Call = { method: 'POST', path: objectPath(SERVICE_ACCOUNTS, namespace, name, 'token'), body: JSON.stringify(body), repeatable: true }
    const status = field(await api.request(call), 'status')
    const token = field(status, 'token')
    const expirationTimestamp = field(status, 'expirationTimestamp')
    if (typeof token !== 'string' || token === '' || typeof expirationTimestamp !== 'string')
      throw new KubeError('KUBE_UNAVAILABLE', `the answer of the API server to the request for a token of ServiceAccount ${namespace}/${name} holds none`)
    return { token, expirationTimestamp }
  },
})
