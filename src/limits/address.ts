/** Client addresses as limits count them. */

import { addressValue } from '../store/addresses.ts'

/** IPv4 as IPv6 maps it, in the bits above the address. */
const MAPPED = 0xffffn
/** A household or a server is given a /64, and may use any of its addresses. */
const REST_BITS = 64n

/** An IPv4 address as it is, an IPv6 one as its /64 network in one spelling, whatever the spelling it came in. */
export function networkOf(ip: string): string {
  if (!ip.includes(':')) return ip
  const value = addressValue(ip)
  if (value === null) return ip
  if (value >> 32n === MAPPED) return [24n, 16n, 8n, 0n].map(bits => (value >> bits) & 0xffn).join('.')
  const groups = [48n, 32n, 16n, 0n].map(bits => ((value >> (REST_BITS + bits)) & 0xffffn).toString(16))
  return `${groups.join(':')}::/64`
}
