import type { KubeObject } from './meta.ts'

export interface PolicyRule {
  apiGroups?: string[]
  resources?: string[]
  resourceNames?: string[]
  verbs: string[]
  nonResourceURLs?: string[]
}

export interface Role extends KubeObject {
  rules: PolicyRule[]
}

export interface Subject {
  kind: string
  name: string
  namespace?: string
  apiGroup?: string
}

export interface RoleBinding extends KubeObject {
  subjects?: Subject[]
  roleRef: { apiGroup: string; kind: string; name: string }
}
