/** The story of two people at one Workspace: what the reviews say, who gets an address, and what the guard of its web traffic lets pass. */
import { join } from 'node:path'
import { ROOT } from '../project.ts'
import { EXAMPLES } from './approval-steps.ts'
import { TEAM, WORKSPACES_HOST, type Connections } from './connections.ts'
import { playSteps, type HttpQuestion, type Stage, type Step } from './stage.ts'

const OWN = `/workspaces/${TEAM}/alice-workspace`
const SHARED = `/workspaces/${TEAM}/shared-workspace`

const create = (title: string, file: string, expect: Step['expect'], ...more: string[]): Step => ({ title, args: ['create', '-f', file, '-o', 'yaml', ...more], expect })

const reviews = (): Step[] => [
  create('May Alice connect to the Workspace of Alice?', join(EXAMPLES, 'connection-access-review.yaml'), {
    says: ['allowed: true', 'notFound: false', 'reason: Valid RBAC and user is the owner of the private Workspace'],
  }),
  create('And Bob, who may connect to Workspaces of the team?', join(ROOT, 'hack/sandbox/bob-connection-access-review.yaml'), {
    says: ['allowed: false', 'notFound: false', 'reason: User is not the owner of the private Workspace'],
  }),
  create('Would a Pod get the Connector of the first story now, and if not, what would be asked?', join(EXAMPLES, 'connector-access-review.yaml'), {
    says: ['allowed: false', 'wouldRequest: true', 'name: approved-builds', 'kind: ApprovalTask'],
  }),
  { title: 'None of it is stored', args: ['get', 'connectionaccessreviews', '-n', TEAM], expect: { fails: true, says: ['the server does not allow this method on the requested resource'] } },
  { title: 'kubectl explains the fields', args: ['explain', 'connectionaccessreview.spec.workspaceName'], expect: { says: ['Name of the Workspace, in the namespace of the review.'] } },
]

const http = (title: string, curl: () => HttpQuestion, expect: Step['expect']): Step => ({ title, args: [], curl, expect })

/** What the reverse proxy says of a browser. */
const forwarded = (uri: string): Record<string, string> => ({ 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': WORKSPACES_HOST, 'X-Forwarded-Uri': uri })

/** The story of a browser; what it holds changes from step to step. */
const web = ({ authUrl }: Connections, tokens: { alice: string; bob: string }): Step[] => {
  const held = { address: OWN, session: '' }
  const ask = (route: string, uri: string, more: Record<string, string> = {}): HttpQuestion => ({ url: `${authUrl}/${route}`, headers: { ...forwarded(uri), ...more } })
  const verify = (uri: string) => (): HttpQuestion => ask('verify', uri, held.session === '' ? {} : { Cookie: held.session })
  const exchange = (): HttpQuestion => ask('bearer-auth', held.address)
  const signIn = (user: 'alice' | 'bob', uri: string) => (): HttpQuestion => ask('auth', uri, { Authorization: `Bearer ${tokens[user]}` })
  return [
    http('A browser without a session gets nowhere', verify(`${OWN}/lab`), { fails: true, says: ['HTTP 401'] }),
    {
      ...create('Alice asks for an address of her Workspace, good for one use', join(EXAMPLES, 'workspace-connection.yaml'), { says: [`${OWN}/bearer-auth?token=`] }, '--as=alice'),
      heard: (output) => {
        const url = /workspaceConnectionUrl: (\S+)/.exec(output)?.[1] ?? ''
        if (URL.canParse(url)) held.address = `${new URL(url).pathname}${new URL(url).search}`
      },
    },
    create('Bob gets none', join(EXAMPLES, 'workspace-connection.yaml'), { fails: true, says: ['User is not the workspace owner'] }, '--as=bob'),
    {
      ...http('Her browser opens it: the token becomes a session, and the browser goes on without it', exchange, {
        says: ['HTTP 303', `location: ${OWN}\n`, `Path=${OWN}; Max-Age=`, 'HttpOnly; Secure; SameSite=Lax'],
      }),
      heard: (output) => (held.session = /^set-cookie: ([^;]+)/m.exec(output)?.[1] ?? ''),
    },
    http('Whoever opens it once more is refused', exchange, { fails: true, says: ['HTTP 401', 'Invalid token'] }),
    http('With the session she may pass', verify(`${OWN}/lab?reset`), { says: ['HTTP 200'] }),
    http('but not to another Workspace', verify(SHARED), { fails: true, says: ['HTTP 403', 'Path not authorized'] }),
    http('nor to one whose name begins alike', verify(`${OWN}-2/lab`), { fails: true, says: ['HTTP 403', 'Path not authorized'] }),
    http('nor by a way around', verify(`${OWN}/../shared-workspace`), { fails: true, says: ['HTTP 400'] }),
    http('An ID token of the issuer signs her in as well', signIn('alice', OWN), { says: ['HTTP 200', 'set-cookie: workspace_auth='] }),
    http('and Bob where he may: at the Workspace for the team', signIn('bob', SHARED), { says: ['HTTP 200', `Path=${SHARED};`] }),
    http('not at that of Alice', signIn('bob', OWN), { fails: true, says: ['HTTP 403', 'Access denied: you are not authorized to connect to this workspace'], saysNot: ['set-cookie'] }),
    {
      title: 'The Workspace for the team becomes private',
      args: ['patch', 'workspace', 'shared-workspace', '-n', TEAM, '--type=merge', '-p', '{"spec":{"accessType":"OwnerOnly"}}'],
      expect: { says: ['patched'] },
    },
    { ...http('A second later Bob is refused there, too', signIn('bob', SHARED), { fails: true, says: ['HTTP 403'] }), within: 60_000 },
  ]
}

/** @returns the titles of the steps that came out otherwise */
export const playConnectionStory = async (stage: Stage, connections: Connections): Promise<string[]> => {
  const tokens = { alice: await connections.idToken('alice'), bob: await connections.idToken('bob') }
  return playSteps(stage, [...reviews(), ...web(connections, tokens)])
}
