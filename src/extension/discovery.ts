/** What is served, as kubectl and the API server ask for it. */
import { fixedDocument, type FixedDocument } from './encoded.ts'
import type { ReviewKind } from './review-kind.ts'

export interface GroupVersion {
  group: string
  version: string
  kinds: readonly ReviewKind[]
}

/** In the order in which the kinds come; a group has one version. */
export const groupVersionsOf = (kinds: readonly ReviewKind[]): GroupVersion[] =>
  [...Map.groupBy(kinds, ({ group, version }) => `${group}/${version}`).values()].flatMap((same) => {
    const [first] = same
    return first === undefined ? [] : [{ group: first.group, version: first.version, kinds: same }]
  })

export interface DiscoveryDocuments {
  /** `/apis`: the plain list, and those that hold the resources too. */
  groups: { plain: FixedDocument; v2: FixedDocument; v2beta1: FixedDocument }
  /** By path: `/apis/<group>` and `/apis/<group>/<version>`. */
  byPath: ReadonlyMap<string, FixedDocument>
}

const CREATE = ['create']

const versionOf = ({ group, version }: GroupVersion): object => ({ groupVersion: `${group}/${version}`, version })

const groupBody = (served: GroupVersion): object => ({ name: served.group, versions: [versionOf(served)], preferredVersion: versionOf(served) })

const resourceList = ({ group, version, kinds }: GroupVersion): object => ({
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: `${group}/${version}`,
  resources: kinds.map(({ plural, singular, kind }) => ({ name: plural, singularName: singular, namespaced: true, kind, verbs: CREATE })),
})

const aggregated = (served: readonly GroupVersion[], discoveryVersion: string): object => ({
  kind: 'APIGroupDiscoveryList',
  apiVersion: `apidiscovery.k8s.io/${discoveryVersion}`,
  metadata: {},
  items: served.map(({ group, version, kinds }) => ({
    metadata: { name: group, creationTimestamp: null },
    versions: [
      {
        version,
        resources: kinds.map(({ plural, singular, kind }) => ({
          resource: plural,
          responseKind: { group, version, kind },
          scope: 'Namespaced',
          singularResource: singular,
          verbs: CREATE,
        })),
        freshness: 'Current',
      },
    ],
  })),
})

export const discoveryDocuments = (kinds: readonly ReviewKind[]): DiscoveryDocuments => {
  const served = groupVersionsOf(kinds)
  return {
    groups: {
      plain: fixedDocument({ kind: 'APIGroupList', apiVersion: 'v1', groups: served.map(groupBody) }),
      v2: fixedDocument(aggregated(served, 'v2')),
      v2beta1: fixedDocument(aggregated(served, 'v2beta1')),
    },
    byPath: new Map(
      served.flatMap((one) => [
        [`/apis/${one.group}`, fixedDocument({ kind: 'APIGroup', apiVersion: 'v1', ...groupBody(one) })] as const,
        [`/apis/${one.group}/${one.version}`, fixedDocument(resourceList(one))] as const,
      ]),
    ),
  }
}
