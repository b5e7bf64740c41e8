/** Who the client is, as far as its peer may be believed, and the lines that tell the upstream. */

import { BlockList, isIP } from 'node:net'
import type { GatewayConfig } from '../config/schema.ts'
import type { Client } from '../exchange.ts'
import { fieldLine } from '../wire/request-head.ts'
import type { RequestHeaders } from '../wire/request-headers.ts'

export type TrustedProxies = BlockList

export function trustedProxies(networks: GatewayConfig['server']['trustedProxies']): TrustedProxies {
  const list = new BlockList()
  for (const { address, prefix, family } of networks) list.addSubnet(address, prefix, family)
  return list
}

export function isTrusted(list: TrustedProxies, address: string): boolean {
  const version = isIP(address)
  return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

/** `::ffff:10.0.0.7` is 10.0.0.7 on a dual-stack socket. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return ''
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address
}

/** A host with optional port: name, IPv4 or bracketed IPv6; no user info, path or anything else. */
const HOST = /^(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/

export function isHost(value: string): boolean {
  return value.length <= 260 && HOST.test(value) && Number(/:(\d+)$/.exec(value)?.[1] ?? 0) <= 65_535
}

/** One end of a connection, and what is known of it. */
export interface ClientPeer {
  /** Its address. */
  readonly peer: string
  readonly protocol: 'http' | 'https'
  // Written here: whether its word on its own client counts and who says so, and who it was the last time
  judgedBy: TrustedProxies | null
  trusted: boolean
  client: Client | null
  clientAuthority: string
}

/** Only the word of a trusted peer on its client's address counts. For any other it is the same with each Host. */
export function clientOf(
  connection: ClientPeer,
  authority: string,
  headers: RequestHeaders,
  trusted: TrustedProxies,
): Client {
  const { peer, protocol } = connection
  if (connection.judgedBy !== trusted) {
    connection.judgedBy = trusted
    connection.trusted = isTrusted(trusted, peer)
  }
  if (connection.trusted) return proxiedClient(peer, protocol, authority, headers, trusted)
  if (connection.client === null || connection.clientAuthority !== authority) {
    connection.client = directClient(peer, protocol, authority)
    connection.clientAuthority = authority
  }
  return connection.client
}

/** What an untrusted peer is told of: itself, and nothing that it said. */
export function directClient(peer: string, protocol: 'http' | 'https', host: string): Client {
  return { ip: peer, protocol, forwardedLines: forwardedLines([peer], protocol, host) }
}

/**
 * What a trusted proxy is believed: the addresses from the first one that is not itself a trusted proxy on, read
 * from the right, since everything left of that one is the client's own invention.
 */
export function proxiedClient(
  peer: string,
  protocol: 'http' | 'https',
  host: string,
  headers: RequestHeaders,
  trusted: TrustedProxies,
): Client {
  const said = headers.getAll('x-forwarded-for').flatMap(value => value.split(','))
  const chain = [peer]
  for (const part of said.reverse()) {
    const address = plainAddress(part.trim())
    if (isIP(address) === 0) break
    chain.unshift(address)
    if (!isTrusted(trusted, address)) break
  }
  const saidProtocol = lastSaid(headers, 'x-forwarded-proto').toLowerCase()
  const believedProtocol = saidProtocol === 'https' || saidProtocol === 'http' ? saidProtocol : protocol
  const saidHost = lastSaid(headers, 'x-forwarded-host')
  const believedHost = isHost(saidHost) ? saidHost : host
  return {
    ip: chain[0]!,
    protocol: believedProtocol,
    forwardedLines: forwardedLines(chain, believedProtocol, believedHost),
  }
}

/** The last of all values of a field: what the nearest proxy said. */
function lastSaid(headers: RequestHeaders, name: string): string {
  return headers.getAll(name).join(',').split(',').at(-1)!.trim()
}

function forwardedLines(chain: readonly string[], protocol: string, host: string): string {
  const first = chain[0]!
  const forwarded = chain.map((address, index) => {
    const node = isIP(address) === 6 ? `for="[${address}]"` : `for=${address}`
    return index > 0 ? node : `${node}${host === '' ? '' : `;host="${host}"`};proto=${protocol}`
  })
  return (
    fieldLine('X-Forwarded-For', chain.join(', ')) +
    fieldLine('X-Forwarded-Proto', protocol) +
    (host === '' ? '' : fieldLine('X-Forwarded-Host', host)) +
    fieldLine('X-Real-IP', first) +
    fieldLine('Forwarded', forwarded.join(', '))
  )
}
