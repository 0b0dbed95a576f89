import { test } from 'tap'
import { ACCESS_POLICY, ACCESS_REQUEST, CONNECTOR, CONNECTOR_CLASS, customResourceDefinition } from '../../../hack/generate/crds.ts'
import { IMMUTABLE_MESSAGE } from '../../../src/core/request-rules.ts'

interface Node {
  description?: string
  properties?: Record<string, Node>
  items?: Node
  additionalProperties?: Node
  'x-kubernetes-validations'?: object[]
}

interface Definition {
  metadata: { name: string; labels: Record<string, string> }
  spec: {
    group: string
    scope: string
    names: object
    versions: { name: string; subresources: object; additionalPrinterColumns: { name: string; priority?: number }[]; schema: { openAPIV3Schema: Node } }[]
  }
}

const read = (kind: typeof ACCESS_REQUEST): Definition => JSON.parse(JSON.stringify(customResourceDefinition(kind)))

/** Paths of the fields that have no description. */
const undescribed = (node: Node, path: string): string[] => [
  ...Object.entries(node.properties ?? {}).flatMap(([name, field]) => [
    ...(field.description === undefined ? [`${path}.${name}`] : []),
    ...undescribed(field, `${path}.${name}`),
  ]),
  ...(node.items === undefined ? [] : undescribed(node.items, `${path}[]`)),
  ...(node.additionalProperties === undefined ? [] : undescribed(node.additionalProperties, `${path}.*`)),
]

const kinds = [
  {
    definition: read(ACCESS_REQUEST),
    fullName: 'accessrequests.connectors.alauda.io',
    scope: 'Namespaced',
    names: { kind: 'AccessRequest', listKind: 'AccessRequestList', plural: 'accessrequests', singular: 'accessrequest', shortNames: ['areq'], categories: ['access-gate'] },
    columns: ['Connector', 'Subject', 'ContextValid', 'Permission', 'Ready', 'Age'],
    wideColumns: ['Pod', 'Pod Namespace', 'Message'],
  },
  {
    definition: read(ACCESS_POLICY),
    fullName: 'accesspolicies.connectors.alauda.io',
    scope: 'Namespaced',
    names: { kind: 'AccessPolicy', listKind: 'AccessPolicyList', plural: 'accesspolicies', singular: 'accesspolicy', shortNames: ['apol'], categories: ['access-gate'] },
    columns: ['Ready', 'Age'],
    wideColumns: ['Role Template', 'Message'],
  },
  {
    definition: read(CONNECTOR),
    fullName: 'connectors.connectors.alauda.io',
    scope: 'Namespaced',
    names: { kind: 'Connector', listKind: 'ConnectorList', plural: 'connectors', singular: 'connector' },
    columns: ['Class', 'Address', 'Ready', 'Reason', 'Age'],
    wideColumns: [],
  },
  {
    definition: read(CONNECTOR_CLASS),
    fullName: 'connectorclasses.connectors.alauda.io',
    scope: 'Cluster',
    names: { kind: 'ConnectorClass', listKind: 'ConnectorClassList', plural: 'connectorclasses', singular: 'connectorclass' },
    columns: ['Ready', 'Reason', 'Age'],
    wideColumns: [],
  },
]

for (const { definition, fullName, scope, names, columns, wideColumns } of kinds) {
  const { metadata, spec } = definition
  const [version] = spec.versions

  await test(`${names.kind}: every field has a description, but for metadata, which the API server describes`, async (t) => {
    const schema = version?.schema.openAPIV3Schema ?? {}
    t.strictSame(undescribed(schema, ''), ['.metadata'])
    t.ok(schema.description)
  })

  await test(`${names.kind}: one version with a status subresource, labelled with the group`, async (t) => {
    t.match({ metadata, spec }, { metadata: { labels: { group: 'connectors.alauda.io' } }, spec: { group: 'connectors.alauda.io' } })
    t.match(spec.versions, [{ name: 'v1alpha1', served: true, storage: true, subresources: { status: {} } }])
    t.equal(spec.versions.length, 1)
  })

  await test(`${names.kind}: its names`, async (t) => {
    t.strictSame({ fullName: metadata.name, scope: spec.scope, names: spec.names }, { fullName, scope, names })
  })

  await test(`${names.kind}: its columns`, async (t) => {
    const shown = version?.additionalPrinterColumns ?? []
    t.strictSame(
      shown.filter((column) => column.priority === undefined).map((column) => column.name),
      columns,
    )
    t.strictSame(
      shown.filter((column) => column.priority === 1).map((column) => column.name),
      wideColumns,
    )
  })
}

await test('the spec of a request never changes, and the rule says what the webhook says', async (t) => {
  const spec = read(ACCESS_REQUEST).spec.versions[0]?.schema.openAPIV3Schema.properties?.['spec']
  t.strictSame(spec?.['x-kubernetes-validations'], [{ rule: 'self == oldSelf', message: IMMUTABLE_MESSAGE }])
})
