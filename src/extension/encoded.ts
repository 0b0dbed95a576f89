/** What is answered, as text. */
import { createHash } from 'node:crypto'
import { stringify } from 'yaml'
import type { Form } from '../core/media-type.ts'
import type { ApiFailure } from './api-failure.ts'

export const CONTENT_TYPE: Readonly<Record<Form, string>> = { json: 'application/json', yaml: 'application/yaml' }

/** YAML that every version of YAML reads the same way. */
const toYaml = (value: unknown): string => stringify(value, { version: '1.1', aliasDuplicateObjects: false, lineWidth: 0 })

export const encode = (value: unknown, form: Form): string => (form === 'json' ? `${JSON.stringify(value)}\n` : toYaml(value))

/** A metav1.Status. */
export const statusOf = ({ code, reason, message, details }: ApiFailure): object => ({
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Failure',
  message,
  reason,
  ...(details === undefined ? {} : { details }),
  code,
})

/** A document that never changes while the process lives: made once. */
export interface FixedDocument {
  json: string
  yaml: string
  /** Of the JSON; what is the same has the same. */
  hash: string
}

export const fixedDocument = (value: unknown): FixedDocument => {
  const json = encode(value, 'json')
  return { json, yaml: encode(value, 'yaml'), hash: createHash('sha256').update(json).digest('hex').toUpperCase() }
}
