/** OpenAPI 2 and 3 of the kinds, for `kubectl explain` and for what kubectl looks up before it sends anything. */
import { toStructural, type Schema } from '../core/structural-schema.ts'
import { groupVersionsOf, type GroupVersion } from './discovery.ts'
import { fixedDocument, type FixedDocument } from './encoded.ts'
import { DocumentedMetaSchema } from './object-meta.ts'
import type { ReviewKind } from './review-kind.ts'

export interface OpenApiDocuments {
  v2: FixedDocument
  /** `/openapi/v3`: where the documents of the groups are. */
  v3: FixedDocument
  /** By path. */
  v3ByPath: ReadonlyMap<string, FixedDocument>
}

const INFO = { title: 'access-gate extension', version: 'v1alpha1' }
const JSON_AND_YAML = ['application/json', 'application/yaml']

const gvkOf = ({ group, version, kind }: ReviewKind): object => ({ group, version, kind })

/** Such as `org.jupyter.workspace.connection.v1alpha1.ConnectionAccessReview`. */
const definitionName = ({ group, version, kind }: ReviewKind): string => [...group.split('.').toReversed(), version, kind].join('.')

const definitionOf = (kind: ReviewKind): Schema => ({
  description: kind.description,
  type: 'object',
  required: ['spec'],
  properties: {
    apiVersion: { description: 'Group and version of this object; left out, the ones of the URL.', type: 'string' },
    kind: { description: 'Kind of this object; left out, the one of the URL.', type: 'string' },
    metadata: toStructural(DocumentedMetaSchema, `${kind.kind}.metadata`),
    spec: toStructural(kind.specSchema, `${kind.kind}.spec`),
    status: toStructural(kind.statusSchema, `${kind.kind}.status`),
  },
  'x-kubernetes-group-version-kind': [gvkOf(kind)],
})

interface Parameter {
  name: string
  in: 'query' | 'path'
  description: string
  required?: true
}

const PRETTY: Parameter = { name: 'pretty', in: 'query', description: 'Taken, and changes nothing.' }
const NAMESPACE: Parameter = { name: 'namespace', in: 'path', description: 'Namespace that the review is about.', required: true }
const OPTIONS: readonly Parameter[] = [
  { name: 'dryRun', in: 'query', description: 'All: it is decided, and nothing else is done: no token is made or used up, no plugin is called.' },
  { name: 'fieldManager', in: 'query', description: 'Taken, and changes nothing: nothing is stored.' },
  {
    name: 'fieldValidation',
    in: 'query',
    description: 'What is done about fields that are unknown or there twice: Ignore; Warn, which is the default, answers with warnings; Strict refuses the request.',
  },
]

const collectionPath = ({ group, version, plural }: ReviewKind): string => `/apis/${group}/${version}/namespaces/{namespace}/${plural}`

/** kubectl looks for the options of a create at a patch. */
const PATCH_DESCRIPTION = 'Is answered with 405 Method Not Allowed: nothing is stored that could be changed. It is described because kubectl looks here for the options that a create takes.'

const operationOf = (kind: ReviewKind, verb: 'create' | 'patch'): Record<string, unknown> => ({
  description: verb === 'create' ? `create a ${kind.kind}: it is answered with its status, and not stored` : PATCH_DESCRIPTION,
  operationId: `${verb}Namespaced${kind.kind}`,
  tags: [`${kind.group}_${kind.version}`],
  'x-kubernetes-action': verb === 'create' ? 'post' : 'patch',
  'x-kubernetes-group-version-kind': gvkOf(kind),
})

const EMPTY_SCHEMA = { type: 'object', description: 'Anything.' }

const REFUSED = { 401: { description: 'Unauthorized' }, 405: { description: 'Method Not Allowed' } }

const parameterV2 = (parameter: Parameter): object => ({ uniqueItems: true, type: 'string', ...parameter })

const pathV2 = (kind: ReviewKind): object => {
  const schema = { $ref: `#/definitions/${definitionName(kind)}` }
  const operation = (verb: 'create' | 'patch', body: object, responses: object): object => ({
    ...operationOf(kind, verb),
    consumes: JSON_AND_YAML,
    produces: JSON_AND_YAML,
    schemes: ['https'],
    parameters: [{ name: 'body', in: 'body', required: true, schema: body }, ...OPTIONS.map(parameterV2)],
    responses,
  })
  return {
    post: operation('create', schema, { 201: { description: 'Created', schema }, 401: REFUSED[401] }),
    patch: operation('patch', EMPTY_SCHEMA, REFUSED),
    parameters: [NAMESPACE, PRETTY].map(parameterV2),
  }
}

const parameterV3 = (parameter: Parameter): object => ({ ...parameter, schema: { type: 'string', uniqueItems: true } })

const pathV3 = (kind: ReviewKind): object => {
  const content = Object.fromEntries(JSON_AND_YAML.map((type) => [type, { schema: { $ref: `#/components/schemas/${definitionName(kind)}` } }]))
  const operation = (verb: 'create' | 'patch', body: object, responses: object): object => ({
    ...operationOf(kind, verb),
    parameters: OPTIONS.map(parameterV3),
    requestBody: { required: true, content: body },
    responses,
  })
  return {
    post: operation('create', content, { 201: { description: 'Created', content }, 401: REFUSED[401] }),
    patch: operation('patch', { 'application/merge-patch+json': { schema: EMPTY_SCHEMA } }, REFUSED),
    parameters: [NAMESPACE, PRETTY].map(parameterV3),
  }
}

const definitionsOf = (kinds: readonly ReviewKind[]): Record<string, Schema> => Object.fromEntries(kinds.map((kind) => [definitionName(kind), definitionOf(kind)]))

const documentV3 = ({ kinds }: GroupVersion): object => ({
  openapi: '3.0.0',
  info: INFO,
  paths: Object.fromEntries(kinds.map((kind) => [collectionPath(kind), pathV3(kind)])),
  components: { schemas: definitionsOf(kinds) },
})

/** @throws Error for a schema that has no OpenAPI form, or a field without description */
export const openApiDocuments = (kinds: readonly ReviewKind[]): OpenApiDocuments => {
  const served = groupVersionsOf(kinds).map((one) => ({ path: `apis/${one.group}/${one.version}`, document: fixedDocument(documentV3(one)) }))
  return {
    v2: fixedDocument({
      swagger: '2.0',
      info: INFO,
      paths: Object.fromEntries(kinds.map((kind) => [collectionPath(kind), pathV2(kind)])),
      definitions: definitionsOf(kinds),
    }),
    v3: fixedDocument({
      paths: Object.fromEntries(served.map(({ path, document }) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${document.hash}` }])),
    }),
    v3ByPath: new Map(served.map(({ path, document }) => [`/openapi/v3/${path}`, document])),
  }
}
