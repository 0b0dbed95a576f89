/** What is answered to a GET besides health: discovery, OpenAPI, version and metrics. */
import { acceptedDiscovery, acceptedForm } from '../core/media-type.ts'
import { discoveryDocuments } from './discovery.ts'
import { CONTENT_TYPE, fixedDocument, type FixedDocument } from './encoded.ts'
import { openApiDocuments } from './openapi.ts'
import type { ReviewKind } from './review-kind.ts'

export interface DocumentAnswer {
  contentType: string
  body: string
  /** Left out for what changes from one moment to the next. */
  etag?: string
}

export interface Documents {
  has(path: string): boolean
  /** @param accept the Accept header. @returns undefined when it wants nothing that there is */
  answer(path: string, accept: string | undefined): DocumentAnswer | undefined
}

const inForm = (document: FixedDocument, accept: string | undefined): DocumentAnswer | undefined => {
  const form = acceptedForm(accept)
  return form === undefined ? undefined : { contentType: CONTENT_TYPE[form], body: document[form], etag: `"${document.hash}${form === 'yaml' ? '-YAML' : ''}"` }
}

const aggregated = (document: FixedDocument, version: string): DocumentAnswer => ({
  contentType: `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
  body: document.json,
  etag: `"${document.hash}"`,
})

export interface VersionInfo {
  /** Of the program. */
  version: string
}

/** As kube's version.Info. */
const versionBody = ({ version }: VersionInfo): object => {
  const [major = '0', minor = '0'] = version.split('.')
  return {
    major,
    minor,
    gitVersion: `v${version}`,
    gitCommit: '',
    gitTreeState: '',
    buildDate: '',
    goVersion: '',
    compiler: 'node',
    platform: `${process.platform}/${process.arch}`,
  }
}

/** @throws Error for kinds whose schemas have no OpenAPI form */
export const createDocuments = (kinds: readonly ReviewKind[], version: VersionInfo): Documents => {
  const { groups, byPath } = discoveryDocuments(kinds)
  const { v2, v3, v3ByPath } = openApiDocuments(kinds)
  const fixed = new Map<string, FixedDocument>([
    ...byPath,
    ['/openapi/v2', v2],
    ['/openapi/v3', v3],
    ...v3ByPath,
    ['/version', fixedDocument(versionBody(version))],
    ['/health', fixedDocument({ status: 'ok' })],
  ])
  return {
    has: (path) => path === '/apis' || fixed.has(path),
    answer: (path, accept) => {
      if (path === '/apis') {
        const form = acceptedDiscovery(accept)
        return form === 'v2' || form === 'v2beta1' ? aggregated(groups[form], form) : inForm(groups.plain, accept)
      }
      const document = fixed.get(path)
      return document === undefined ? undefined : inForm(document, accept)
    },
  }
}
