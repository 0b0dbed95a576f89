/** ConnectorAccessReview: would this ServiceAccount, with this Pod, get that Connector now? Asked and answered, with no effect. */
import type { Logger } from 'pino'
import {
  ACCESS_GROUP,
  ACCESS_VERSION,
  CONNECTOR_ACCESS_REVIEW,
  ConnectorAccessReviewSpecSchema,
  ConnectorAccessReviewStatusSchema,
  type ConnectorAccessReviewSpec,
  type ConnectorAccessReviewStatus,
} from '../../api/connector-access-review.ts'
import { creatorIdentity, decideConnectorAccess } from '../../core/connector-access-review.ts'
import type { FieldProblem, ReviewKind } from '../review-kind.ts'
import { gatherConnectorFacts, type ConnectorFactDeps, type ConnectorQuestion } from './connector-facts.ts'
import { createInFlight } from './in-flight.ts'
import { reading } from './read-failure.ts'
import { isMissing, nameProblems, namespaceProblems, required, subdomainProblems, textProblems, unsupported } from './spec-problems.ts'

type Spec = ConnectorAccessReviewSpec

const SERVICE_ACCOUNT = 'ServiceAccount'

const kindProblems = (kind: string): FieldProblem[] => {
  if (isMissing(kind)) return [required('spec.subject.kind')]
  return kind === SERVICE_ACCOUNT ? [] : [unsupported('spec.subject.kind', kind, [SERVICE_ACCOUNT])]
}

const problems = ({ connectorName, subject, podName, user }: Spec): FieldProblem[] => [
  ...nameProblems('spec.connectorName', connectorName),
  ...kindProblems(subject.kind),
  ...subdomainProblems('spec.subject.name', subject.name),
  ...namespaceProblems('spec.subject.namespace', subject.namespace),
  ...(isMissing(podName) ? [] : subdomainProblems('spec.podName', podName)),
  ...textProblems('spec.user', user),
]

/** All that the answer depends on. */
const questionKey = ({ connector, serviceAccount, podName = '', user, caller }: ConnectorQuestion): string => {
  const creator = user === undefined ? [] : [creatorIdentity(user, caller)]
  const extra = creator.flatMap(({ identity }) => Object.entries(identity.extra ?? {}).toSorted(([left], [right]) => (left < right ? -1 : 1)))
  const creators = creator.map(({ identity: { user: name, uid = '', groups }, groupsAreKnown }) => [name, uid, groups, groupsAreKnown])
  return JSON.stringify([connector.namespace, connector.name, serviceAccount.namespace, serviceAccount.name, podName, creators, extra])
}

const given = (text: string | undefined): string | undefined => (isMissing(text) ? undefined : text)

export interface ConnectorAccessReviewDeps extends ConnectorFactDeps {
  logger: Logger
}

export const connectorAccessReview = (deps: ConnectorAccessReviewDeps): ReviewKind<Spec, ConnectorAccessReviewStatus> => {
  const inFlight = createInFlight<ConnectorAccessReviewStatus>(deps.clock)
  const answer = async (question: ConnectorQuestion): Promise<ConnectorAccessReviewStatus> => decideConnectorAccess(await gatherConnectorFacts(deps, question))

  return {
    group: ACCESS_GROUP,
    version: ACCESS_VERSION,
    ...CONNECTOR_ACCESS_REVIEW,
    description:
      'ConnectorAccessReview asks whether a ServiceAccount, with a Pod, would get a Connector now, and if not, what would be asked. It is answered at once, by the same decisions as a mount, and never stored.',
    specSchema: ConnectorAccessReviewSpecSchema,
    statusSchema: ConnectorAccessReviewStatusSchema,
    problems,
    echo: (spec) => spec,
    review: async ({ namespace, spec, caller }) => {
      const { connectorName, subject, podName, user } = spec
      const question = {
        connector: { namespace, name: connectorName },
        serviceAccount: { namespace: subject.namespace, name: subject.name },
        podName: given(podName),
        user: given(user),
        caller,
      }
      const object = `${namespace}/${connectorName}`
      const about = { review: CONNECTOR_ACCESS_REVIEW.kind, object }
      const read = await reading(deps.logger, about, 'Failed to read what the answer depends on', () => inFlight.share(questionKey(question), () => answer(question)))
      if (!read.ok) return read
      const { allowed, notFound, wouldRequest } = read.value
      const verdict = allowed ? 'allowed' : notFound ? 'not found' : wouldRequest ? 'would request' : 'denied'
      return { ok: true, status: read.value, verdict, subject: `${subject.namespace}/${subject.name}`, object }
    },
  }
}
