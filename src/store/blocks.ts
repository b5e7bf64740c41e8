/**
 * Blocked companies, users, sessions and addresses as one thread sees them. Asked for every request: while nothing is
 * blocked that is a comparison, else a look-up for each name that a token has, and one for an address seen before.
 */

import { addressValue, firstOf, type Network, parseNetwork } from './addresses.ts'
import { BLOCK_KINDS, type Block, type BlockKind, type Ruling } from './block.ts'

/** Whom a token speaks for. */
export interface Holder {
  readonly userId: string
  readonly companyId: string | null
  readonly sessionId: string | null
}

/** The question that policies and long-lived streams ask. */
export interface AskedBlocks {
  /** Changes whenever something is blocked or unblocked. */
  readonly version: number
  /** What stands against whoever a token speaks for; null: nothing. */
  against(holder: Holder): Block | null
  /** What stands against a client's address; null: nothing. */
  againstAddress(ip: string): Block | null
}

/** Addresses that are remembered with what stands against them, until something changes. */
const MAX_REMEMBERED = 10_000

export class Blocks implements AskedBlocks {
  #version = 0
  readonly #byId: Readonly<Record<BlockKind, Map<string, Block>>> = {
    company: new Map(),
    user: new Map(),
    session: new Map(),
    ip: new Map(),
  }
  /** First address → block, for each length of prefix that there is. The longest comes first. */
  readonly #networks = new Map<number, Map<bigint, Block>>()
  #lengths: number[] = []
  readonly #remembered = new Map<string, Block | null>()

  get version(): number {
    return this.#version
  }

  get size(): number {
    return BLOCK_KINDS.reduce((size, kind) => size + this.#byId[kind].size, 0)
  }

  get(kind: BlockKind, id: string): Block | undefined {
    return this.#byId[kind].get(id)
  }

  /** All of them, also those that are over. */
  *values(): Generator<Block> {
    for (const kind of BLOCK_KINDS) yield* this.#byId[kind].values()
  }

  apply({ kind, id, block }: Ruling): void {
    this.#version++
    if (block === null) this.#byId[kind].delete(id)
    else this.#byId[kind].set(id, block)
    if (kind !== 'ip') return
    this.#remembered.clear()
    const network = parseNetwork(id)
    if (typeof network !== 'string') this.#place(network, block)
  }

  against({ companyId, userId, sessionId }: Holder): Block | null {
    const { company, user, session } = this.#byId
    if (company.size > 0 && companyId !== null) {
      const block = live(company.get(companyId))
      if (block !== null) return block
    }
    if (user.size > 0) {
      const block = live(user.get(userId))
      if (block !== null) return block
    }
    return session.size > 0 && sessionId !== null ? live(session.get(sessionId)) : null
  }

  againstAddress(ip: string): Block | null {
    if (this.#byId.ip.size === 0) return null
    const remembered = this.#remembered.get(ip)
    if (remembered === null || (remembered !== undefined && live(remembered) !== null)) return remembered
    const found = this.#find(ip)
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear()
    this.#remembered.set(ip, found)
    return found
  }

  /** Of several networks that an address is in the smallest counts. */
  #find(ip: string): Block | null {
    const address = addressValue(ip)
    if (address === null) return null
    for (const length of this.#lengths) {
      const block = live(this.#networks.get(length)!.get(firstOf(address, length)))
      if (block !== null) return block
    }
    return null
  }

  #place({ first, bits }: Network, block: Block | null): void {
    const networks = this.#networks.get(bits) ?? new Map<bigint, Block>()
    if (block === null) networks.delete(first)
    else networks.set(first, block)
    if (networks.size === 0) this.#networks.delete(bits)
    else this.#networks.set(bits, networks)
    this.#lengths = [...this.#networks.keys()].sort((a, b) => b - a)
  }
}

/** The clock is read only where there is something to be over. */
function live(block: Block | undefined): Block | null {
  return block !== undefined && (block.until === Number.POSITIVE_INFINITY || block.until > Date.now())
    ? block
    : null
}
