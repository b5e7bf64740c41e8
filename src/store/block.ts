/** Who is kept out, and what was last said about it. */

export type BlockKind = 'company' | 'user' | 'session' | 'ip'

export const BLOCK_KINDS: readonly BlockKind[] = ['company', 'user', 'session', 'ip']

export interface Block {
  readonly kind: BlockKind
  /** Of an address or a network the form that `parseNetwork` gives. */
  readonly id: string
  /** What the client is told; null: nothing beyond that it is blocked. */
  readonly reason: string | null
  /** Milliseconds since 1970. */
  readonly since: number
  /** Milliseconds since 1970, or Infinity. */
  readonly until: number
}

/** What was last said of somebody. Where two say something else, the later one counts, on every gateway. */
export interface Ruling {
  readonly kind: BlockKind
  readonly id: string
  /** Milliseconds since 1970, and later than all that was known before of the same. */
  readonly at: number
  /** Null: it is not blocked any more. */
  readonly block: Block | null
}

export const MAX_ID_LENGTH = 256

/** The same for the same: no kind has a colon in it. */
export function keyOf({ kind, id }: Pick<Block, 'kind' | 'id'>): string {
  return `${kind}:${id}`
}

export function rulingOf(block: Block): Ruling {
  return { kind: block.kind, id: block.id, at: block.since, block }
}
