import type { KubeObject } from './meta.ts'

/** A Secret. Its values are never logged. */
export interface Secret extends KubeObject {
  type?: string
  /** base64 of each value. */
  data?: Record<string, string>
}
