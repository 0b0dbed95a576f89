/** A metav1.Status of something that failed, as Kubernetes writes it. Takes nothing from the program: what that answers is compared with it. */
export const status = (code: number, reason: string, message: string, details?: object): object => ({
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Failure',
  message,
  reason,
  ...(details === undefined ? {} : { details }),
  code,
})
