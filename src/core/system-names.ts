/** Names that Kubernetes gives itself. */

/** The group of everybody who is known by name. */
export const AUTHENTICATED = 'system:authenticated'

/** Whoever carries such a name from outside would pass for a part of the cluster. */
export const isReservedName = (name: string): boolean => name.startsWith('system:')

export const withAuthenticated = (groups: readonly string[]): readonly string[] => (groups.includes(AUTHENTICATED) ? groups : [...groups, AUTHENTICATED])
