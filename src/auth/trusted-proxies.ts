/** Whose word is taken for what a browser asked: the reverse proxy's, by its address. */
import { BlockList, isIP, isIPv4 } from 'node:net'
import { CodedError } from '../errors.ts'

export interface TrustedProxies {
  /** @param address of the other end of the connection, as node:net gives it; undefined once that is gone */
  trusts(address: string | undefined): boolean
}

/** An IPv4 address that came over a socket of both families, and one with the name of its interface, as plain addresses. */
const plain = (address: string): string => address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '')

const bad = (item: string): CodedError =>
  new CodedError('CONFIG_INVALID', `TRUSTED_PROXIES (--trusted-proxies) must be addresses or CIDRs joined by commas, such as 10.0.0.0/8,::1; got ${JSON.stringify(item)}`)

const add = (list: BlockList, item: string): void => {
  const [given = '', bits, ...others] = item.split('/')
  const address = plain(given)
  const family = isIPv4(address) ? 'ipv4' : 'ipv6'
  if (isIP(address) === 0 || others.length > 0 || (bits !== undefined && address !== given)) throw bad(item)
  if (bits === undefined) {
    list.addAddress(address, family)
    return
  }
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > (family === 'ipv4' ? 32 : 128)) throw bad(item)
  list.addSubnet(address, Number(bits), family)
}

/** @param items addresses and CIDRs. @throws CodedError CONFIG_INVALID for anything else */
export const trustedProxies = (items: readonly string[]): TrustedProxies => {
  const list = new BlockList()
  for (const item of items) add(list, item)
  return {
    trusts: (address) => {
      if (address === undefined) return false
      const one = plain(address)
      return isIP(one) !== 0 && list.check(one, isIPv4(one) ? 'ipv4' : 'ipv6')
    },
  }
}
