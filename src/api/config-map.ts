import type { KubeObject } from './meta.ts'

export interface ConfigMap extends KubeObject {
  data?: Record<string, string>
}
