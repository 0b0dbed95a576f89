/** The query of a create, as metav1.CreateOptions. */
import { invalid, type ApiFailure, type FieldProblem } from './api-failure.ts'

/** What is done about fields that nobody knows, or that are there twice. */
export type FieldValidation = 'Ignore' | 'Warn' | 'Strict'

export interface CreateOptions {
  dryRun: boolean
  fieldValidation: FieldValidation
}

export type CreateOptionsReading = { ok: true; options: CreateOptions } | { ok: false; failure: ApiFailure }

const DEFAULTS: CreateOptionsReading = { ok: true, options: { dryRun: false, fieldValidation: 'Warn' } }
const FIELD_VALIDATIONS: ReadonlyMap<string, FieldValidation> = new Map([
  ['', 'Warn'],
  ['Ignore', 'Ignore'],
  ['Strict', 'Strict'],
  ['Warn', 'Warn'],
])
const DRY_RUN_ALL = 'All'

const notSupported = (field: string, value: string | readonly string[], supported: readonly string[]): FieldProblem => ({
  type: 'FieldValueNotSupported',
  field,
  message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported.map((one) => JSON.stringify(one)).join(', ')}`,
})

/** @param query without the question mark. fieldManager and pretty are taken and change nothing here. */
export const readCreateOptions = (query: string): CreateOptionsReading => {
  if (query === '') return DEFAULTS
  const params = new URLSearchParams(query)
  const dryRun = params.getAll('dryRun')
  const validation = params.get('fieldValidation') ?? ''
  const fieldValidation = FIELD_VALIDATIONS.get(validation)
  const problems: FieldProblem[] = []
  if (dryRun.some((value) => value !== DRY_RUN_ALL)) problems.push(notSupported('dryRun', dryRun, [DRY_RUN_ALL]))
  if (fieldValidation === undefined) problems.push(notSupported('fieldValidation', validation, [...FIELD_VALIDATIONS.keys()]))
  if (fieldValidation === undefined || problems.length > 0) return { ok: false, failure: invalid({ kind: 'CreateOptions', group: 'meta.k8s.io' }, problems) }
  return { ok: true, options: { dryRun: dryRun.length > 0, fieldValidation } }
}
