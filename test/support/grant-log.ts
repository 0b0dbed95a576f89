/** Everything that happens to the grants of a namespace while a test goes on, by a real watch. */
import { randomBytes } from 'node:crypto'
import { LABEL } from '../../src/api/names.ts'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import type { Reader, Resource, Watcher, Writer } from '../../src/kube/ports.ts'
import { ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'

export interface GrantEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  kind: string
  name: string
  /** The request that it says it belongs to. */
  request: string | undefined
}

export interface GrantLog {
  /** Ends the watches. @returns all that happened to Roles and RoleBindings with the label of a grant, in order for each kind */
  end(): Promise<GrantEvent[]>
}

/** Longer than any test. */
const WATCH_SECONDS = 600

interface Span {
  namespace: string
  /** Everything after this version. */
  from: string
  /** Up to the object of this name. */
  end: string
}

const follow = async <T extends Role | RoleBinding>(kube: Watcher, resource: Resource<T>, { namespace, from, end }: Span): Promise<GrantEvent[]> => {
  const events: GrantEvent[] = []
  for await (const event of kube.watch(resource, { namespace, resourceVersion: from, timeoutSeconds: WATCH_SECONDS })) {
    if (event.type === 'BOOKMARK') continue
    const { metadata } = event.object
    if (metadata.name === end) return events
    if (metadata.labels?.[LABEL.accessRequest] === undefined) continue
    events.push({ type: event.type, kind: resource.kind, name: metadata.name, request: metadata.ownerReferences?.[0]?.name })
  }
  throw new Error(`the watch of ${resource.plural} in ${namespace} ended before the test`)
}

/** Begins to watch; what happens from now on is told. */
export const watchGrants = async (kube: Reader & Writer & Watcher, namespace: string): Promise<GrantLog> => {
  const [roles, bindings] = await Promise.all([kube.list(ROLES, { namespace }), kube.list(ROLE_BINDINGS, { namespace })])
  const end = `end-of-the-grant-log-${randomBytes(4).toString('hex')}`
  const told = Promise.all([
    follow(kube, ROLES, { namespace, from: roles.resourceVersion, end }),
    follow(kube, ROLE_BINDINGS, { namespace, from: bindings.resourceVersion, end }),
  ])
  // A watch that breaks is told at the end, not before anyone waits for it.
  told.catch(() => undefined)
  return {
    end: async () => {
      // Events of one kind come in order: when the last one is there, all others are.
      const metadata = { name: end, namespace }
      await kube.create(ROLES, { metadata, rules: [] })
      await kube.create(ROLE_BINDINGS, { metadata, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: end } })
      return (await told).flat()
    },
  }
}
