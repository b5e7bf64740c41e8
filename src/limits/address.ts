/** Client addresses as limits count them. */

import { isIPv6 } from 'node:net'

const GROUPS = 8
/** A household or a server is given a /64, and may use any of its addresses. */
const COUNTED_GROUPS = 4

/** An IPv4 address as it is, an IPv6 one as its /64 network in one spelling, whatever the spelling it came in. */
export function networkOf(ip: string): string {
  if (!isIPv6(ip)) return ip
  const [address] = ip.toLowerCase().split('%') as [string]
  const [head = '', tail] = address.split('::')
  const before = groupsOf(head)
  const after = tail === undefined ? [] : groupsOf(tail)
  const missing = tail === undefined ? 0 : GROUPS - before.length - after.length
  const groups = [...before, ...Array<string>(missing).fill('0'), ...after]
  return `${groups
    .slice(0, COUNTED_GROUPS)
    .map(group => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}

/** An IPv4 address at the end stands for two groups. */
function groupsOf(part: string): string[] {
  if (part === '') return []
  return part.split(':').flatMap(group => (group.includes('.') ? ['v4', 'v4'] : [group]))
}
