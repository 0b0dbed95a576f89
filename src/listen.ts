import { CodedError, messageOf, errorCode } from './errors.ts'

/** A server that is built and does not listen yet. */
export interface Listener {
  listen(at: { host: string; port: number }): Promise<string>
  addresses(): (string | { port: number })[]
}

/** All addresses; where the machine has no IPv6 at all, those of IPv4. */
const ALL = { both: '::', ipv4: '0.0.0.0' } as const

const lacksIpv6 = (error: unknown): boolean => ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(errorCode(error) ?? '')

/**
 * Lets a server listen.
 * @param what the server, for the error
 * @param port 0 takes a free one
 * @returns the port
 * @throws CodedError CONFIG_INVALID when it cannot
 */
export const listen = async (app: Listener, what: string, host: string, port: number): Promise<number> => {
  try {
    await app.listen({ host, port })
  } catch (error) {
    if (host === ALL.both && lacksIpv6(error)) return listen(app, what, ALL.ipv4, port)
    throw new CodedError('CONFIG_INVALID', `the ${what} cannot listen on ${host}, port ${port}: ${messageOf(error)}`, { cause: error })
  }
  const [address] = app.addresses()
  return typeof address === 'object' ? address.port : port
}
