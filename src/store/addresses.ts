/** IP addresses and networks as numbers, so that whatever form one is written in it is the same. */

import { isIP, SocketAddress } from 'node:net'

export interface Network {
  /** Its first address, of 128 bits. IPv4 lies where IPv6 maps it, in `::ffff:0:0/96`. */
  readonly first: bigint
  /** How many of the 128 bits all its addresses have in common. */
  readonly bits: number
  /** The one form in which it is shown. */
  readonly text: string
}

const ALL_BITS = 128
/** Where IPv4 begins among the 128 bits. */
const MAPPED_BITS = 96
const MAPPED = 0xffffn << 32n
/** Wider networks are more often a slip than meant, and would shut out whole countries. */
const WIDEST_IPV4 = 8
const WIDEST_IPV6 = 16

/** @returns null for what is no address */
export function addressValue(text: string): bigint | null {
  const version = isIP(text)
  if (version === 4) return MAPPED | BigInt(wordsOfDotted(text).reduce((all, word) => all * 65_536 + word, 0))
  return version === 6 ? valueOfIpv6(text) : null
}

/**
 * An address, or a network such as `10.0.0.0/8` or `2001:db8::/32`.
 *
 * @returns what is wrong with it, as the end of a sentence, where it is neither
 */
export function parseNetwork(text: string): Network | string {
  const [, address = '', length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const value = address.includes('%') ? null : addressValue(address)
  if (value === null) return 'is no address or network: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32'
  const offset = isIP(address) === 4 ? MAPPED_BITS : 0
  const bits = length === undefined ? ALL_BITS : offset + Number(length)
  if (bits > ALL_BITS) return `has a prefix longer than /${ALL_BITS - offset}`
  const first = firstOf(value, bits)
  const mapped = first >> 32n === 0xffffn && bits >= MAPPED_BITS
  if (mapped && bits < MAPPED_BITS + WIDEST_IPV4) return `is wider than /${WIDEST_IPV4}`
  if (bits < WIDEST_IPV6) return `is wider than /${WIDEST_IPV6}`
  if (!mapped && firstOf(MAPPED, bits) === first) return 'has all of IPv4 in it'
  return { first, bits, text: textOf(first, bits, mapped) }
}

/** The first address of the network of so many bits that an address is in. */
export function firstOf(address: bigint, bits: number): bigint {
  const rest = BigInt(ALL_BITS - bits)
  return (address >> rest) << rest
}

function textOf(first: bigint, bits: number, mapped: boolean): string {
  const hex = first.toString(16).padStart(32, '0')
  const groups = hex.match(/.{4}/g)!.join(':')
  const address = new SocketAddress({ address: groups, family: 'ipv6' }).address
  const own = mapped ? address.slice('::ffff:'.length) : address
  return bits === ALL_BITS ? own : `${own}/${mapped ? bits - MAPPED_BITS : bits}`
}

function valueOfIpv6(text: string): bigint {
  const [head, tail] = text.replace(/%.*$/, '').split('::')
  const left = wordsOf(head!)
  const right = tail === undefined ? [] : wordsOf(tail)
  const zeros = Array<number>(8 - left.length - right.length).fill(0)
  return [...left, ...zeros, ...right].reduce((all, word) => (all << 16n) | BigInt(word), 0n)
}

function wordsOf(groups: string): number[] {
  if (groups === '') return []
  return groups
    .split(':')
    .flatMap(group => (group.includes('.') ? wordsOfDotted(group) : [Number.parseInt(group, 16)]))
}

function wordsOfDotted(text: string): [number, number] {
  const [a, b, c, d] = text.split('.').map(Number) as [number, number, number, number]
  return [a * 256 + b, c * 256 + d]
}
