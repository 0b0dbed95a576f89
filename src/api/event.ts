import type { KubeObject } from './meta.ts'

/** events.k8s.io/v1 Event, as far as this program writes it. */
export interface Event extends KubeObject {
  /** metav1.MicroTime: six digits after the point. */
  eventTime: string
  reportingController: string
  reportingInstance: string
  regarding: { apiVersion: string; kind: string; namespace?: string; name: string; uid: string }
  type: 'Normal' | 'Warning'
  reason: string
  action: string
  note: string
}
