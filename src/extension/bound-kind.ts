/** A kind with everything that is worked out once for it. */
import { Type } from 'typebox'
import { compileDecoder, WrongType, type Decoder } from '../core/field-decoder.ts'
import type { Form } from '../core/media-type.ts'
import { isRecord, own, shown } from '../core/json-shape.ts'
import { badRequest, invalid, tooLarge, type ApiFailure } from './api-failure.ts'
import type { FieldValidation } from './create-options.ts'
import { ObjectMetaSchema } from './object-meta.ts'
import { readBody, type BodyReading } from './request-body.ts'
import type { ReviewKind } from './review-kind.ts'

export interface BoundKind {
  kind: ReviewKind
  apiVersion: string
  decoder: Decoder
}

/** A review as it was sent, with all that is answered of it. */
export interface SentReview {
  metadata: Record<string, unknown>
  spec: unknown
  /** What is told of fields that nobody knows, or that are there twice. */
  warnings: string[]
}

export type DecodedReview = { ok: true; review: SentReview } | { ok: false; failure: ApiFailure }

const ANYTHING = Type.Optional(Type.Unknown())

export const bindKind = (kind: ReviewKind): BoundKind => {
  const schema = Type.Object({
    apiVersion: Type.Optional(Type.String()),
    kind: Type.Optional(Type.String()),
    metadata: ObjectMetaSchema,
    spec: kind.specSchema,
    status: ANYTHING,
  })
  return { kind, apiVersion: `${kind.group}/${kind.version}`, decoder: compileDecoder(schema, kind.kind) }
}

const unrecognized = ({ kind }: ReviewKind, problem: string): ApiFailure => badRequest(`the object provided is unrecognized (must be of type ${kind}): ${problem}`)

/** @returns why it is not of this kind and version; absent or empty ones are taken for the right ones */
const identityProblem = ({ kind, apiVersion }: BoundKind, value: Record<string, unknown>): ApiFailure | undefined => {
  const sentKind = own(value, 'kind') ?? ''
  const sentVersion = own(value, 'apiVersion') ?? ''
  if (typeof sentKind !== 'string' || typeof sentVersion !== 'string') return unrecognized(kind, "couldn't get version/kind; json parse error: kind and apiVersion must be text")
  if (sentKind !== '' && sentKind !== kind.kind) {
    const version = sentVersion === '' ? kind.version : sentVersion.slice(sentVersion.indexOf('/') + 1)
    return badRequest(
      `${shown(sentKind).slice(1, -1)} in version ${shown(version)} cannot be handled as a ${kind.kind}: the kind in the data does not match the expected kind (${kind.kind})`,
    )
  }
  if (sentVersion === '' || sentVersion === apiVersion) return undefined
  return badRequest(`the API version in the data (${shown(sentVersion).slice(1, -1)}) does not match the expected API version (${apiVersion})`)
}

const strictProblems = (body: Extract<BodyReading, { ok: true }>, unknown: readonly string[], validation: FieldValidation): string[] => {
  if (validation === 'Ignore') return []
  return [...unknown.map((field) => `unknown field ${shown(field)}`), ...body.duplicates().map((field) => `duplicate field ${shown(field)}`)]
}

const ECHOED = ['name', 'generateName', 'labels', 'annotations'] as const

const echoedMeta = (sent: Record<string, unknown>, namespace: string): Record<string, unknown> => {
  const metadata: Record<string, unknown> = {}
  for (const key of ECHOED) if (sent[key] !== undefined) metadata[key] = sent[key]
  metadata.namespace = namespace
  return metadata
}

const refuse = (failure: ApiFailure): DecodedReview => ({ ok: false, failure })

/** From bytes to a review that is complete and of the right types. @param namespace of the URL */
export const decodeReview = (bound: BoundKind, bytes: Buffer, form: Form, validation: FieldValidation, namespace: string): DecodedReview => {
  const { kind, decoder } = bound
  const body = readBody(bytes, form)
  if (!body.ok) return refuse(body.limit === undefined ? unrecognized(kind, body.problem) : tooLarge(body.limit))
  if (!isRecord(body.value)) return refuse(unrecognized(kind, "couldn't get version/kind; json parse error: the body is no object"))
  const stranger = identityProblem(bound, body.value)
  if (stranger !== undefined) return refuse(stranger)
  const cannotBe = (problem: string): DecodedReview => refuse(badRequest(`${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: ${problem}`))

  const unknown: string[] = []
  let decoded: Record<string, unknown>
  try {
    decoded = decoder(body.value, unknown)
  } catch (error) {
    if (error instanceof WrongType) return cannotBe(error.message)
    throw error
  }
  const warnings = strictProblems(body, unknown, validation)
  if (validation === 'Strict' && warnings.length > 0) return cannotBe(`strict decoding error: ${warnings.join(', ')}`)

  const sent = isRecord(decoded.metadata) ? decoded.metadata : {}
  if (sent.namespace !== undefined && sent.namespace !== '' && sent.namespace !== namespace)
    return refuse(badRequest('the namespace of the provided object does not match the namespace sent on the request'))
  const problems = kind.problems(decoded.spec)
  const name = typeof sent.name === 'string' ? sent.name : ''
  if (problems.length > 0) return refuse(invalid({ kind: kind.kind, group: kind.group, name }, problems))
  return { ok: true, review: { metadata: echoedMeta(sent, namespace), spec: decoded.spec, warnings } }
}
