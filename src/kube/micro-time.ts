/** metav1.MicroTime, RFC 3339 in UTC with six digits after the point. @param ms milliseconds since the epoch */
export const microTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, -1)}000Z`
