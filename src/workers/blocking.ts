/**
 * Who is blocked: the one book, kept by the main thread. What operators say at this gateway goes into it, and what they
 * said at others; what is in it goes to every thread of this process at once.
 */

import { type Block, keyOf, type Ruling, rulingOf } from '../store/block.ts'
import { Blocks } from '../store/blocks.ts'
import { BlockFeed, type FeedStart } from './block-feed.ts'
import type { Book, Sharing } from './book.ts'

/** Blocks at a time. */
export const MAX_BLOCKS = 65_536
/** For so long it is remembered that something was unblocked, against gateways that did not hear of it. */
export const REMOVAL_MS = 86_400_000
const MAX_REMOVALS = MAX_BLOCKS

const PRUNE_MS = 60_000
const MIN_PRUNE_MS = 1_000

export type Named = Pick<Block, 'kind' | 'id'>

export class Blocking implements Book<Ruling> {
  /** As this thread sees them, for a gateway that serves in it. */
  readonly blocks = new Blocks()
  readonly #capacity: number
  readonly #feed = new BlockFeed()
  /** What was unblocked, oldest first. */
  readonly #removals = new Map<string, Ruling>()
  #sharing: Sharing<Ruling> | null = null
  #prunedAt = 0
  readonly #timer: NodeJS.Timeout

  constructor(capacity: number = MAX_BLOCKS) {
    this.#capacity = capacity
    this.#timer = setInterval(() => this.prune(), PRUNE_MS)
    this.#timer.unref()
  }

  /** What one more worker has to be given. */
  follow(): FeedStart {
    return this.#feed.follow(this.list())
  }

  shareWith(sharing: Sharing<Ruling>): void {
    this.#sharing = sharing
  }

  /** Those in force, the oldest first. */
  list(now: number = Date.now()): Block[] {
    return [...this.blocks.values()].filter(({ until }) => until > now).sort((a, b) => a.since - b.since)
  }

  /**
   * Blocks from now on; what was said before about the same counts no more.
   *
   * @param until milliseconds since 1970, or Infinity
   * @returns null when there is no room for another
   */
  block(named: Named, reason: string | null, until: number): { block: Block; isNew: boolean } | null {
    const before = this.blocks.get(named.kind, named.id)
    const isNew = before === undefined || before.until <= Date.now()
    if (before === undefined && !this.#hasRoom()) return null
    const at = this.#momentFor(named)
    const block: Block = { kind: named.kind, id: named.id, reason, since: at, until }
    this.#say({ ...named, at, block })
    return { block, isNew }
  }

  /** @returns whether there was anything to unblock */
  unblock(named: Named): boolean {
    const before = this.blocks.get(named.kind, named.id)
    if (before === undefined) return false
    this.#say({ ...named, at: this.#momentFor(named), block: null })
    return before.until > Date.now()
  }

  *entries(): Generator<Ruling> {
    for (const block of this.list()) yield rulingOf(block)
    yield* this.#removals.values()
  }

  adopt(rulings: readonly Ruling[], now: number = Date.now()): number {
    const news: Ruling[] = []
    let lost = 0
    for (const ruling of rulings) {
      if (isOver(ruling, now)) continue
      const last = this.find(ruling)
      if (last !== undefined && (last.at > ruling.at || isSame(last, ruling))) continue
      if (ruling.block !== null && last?.block == null && !this.#hasRoom()) lost++
      else {
        this.#apply(ruling)
        news.push(ruling)
      }
    }
    if (news.length > 0) this.#feed.send(news)
    return lost
  }

  find(named: Named): Ruling | undefined {
    const block = this.blocks.get(named.kind, named.id)
    if (block === undefined) return this.#removals.get(keyOf(named))
    return rulingOf(block)
  }

  /** Lets go of what is over. */
  prune(now: number = Date.now()): void {
    this.#prunedAt = now
    const over: Ruling[] = []
    for (const block of this.blocks.values()) {
      if (block.until <= now) over.push(rulingOf(block))
    }
    const gone = over.map(({ kind, id, at }) => ({ kind, id, at, block: null }))
    for (const ruling of gone) this.blocks.apply(ruling)
    if (gone.length > 0) this.#feed.send(gone)
    for (const [key, removal] of this.#removals) {
      if (!isOver(removal, now)) continue
      this.#removals.delete(key)
      over.push(removal)
    }
    if (over.length > 0) this.#sharing?.forget(over)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #say(ruling: Ruling): void {
    this.#apply(ruling)
    this.#feed.send([ruling])
    this.#sharing?.announce(ruling)
  }

  #apply(ruling: Ruling): void {
    const key = keyOf(ruling)
    this.blocks.apply(ruling)
    this.#removals.delete(key)
    if (ruling.block !== null) return
    this.#removals.set(key, ruling)
    if (this.#removals.size <= MAX_REMOVALS) return
    const [oldest] = this.#removals.keys()
    this.#removals.delete(oldest!)
  }

  /** Later than anything that was said of it, by whatever clock. */
  #momentFor(named: Named): number {
    return Math.max(Date.now(), (this.find(named)?.at ?? 0) + 1)
  }

  #hasRoom(): boolean {
    if (this.blocks.size < this.#capacity) return true
    // Not for each of many that find none
    const now = Date.now()
    if (now >= this.#prunedAt + MIN_PRUNE_MS) this.prune(now)
    return this.blocks.size < this.#capacity
  }
}

/** Nothing follows from it any more. */
export function isOver({ at, block }: Ruling, now: number): boolean {
  return block === null ? at + REMOVAL_MS <= now : block.until <= now
}

/** Of the same moment: what the others agreed on counts, unless it is the same. */
function isSame(a: Ruling, b: Ruling): boolean {
  return a.at === b.at && a.block?.reason === b.block?.reason && a.block?.until === b.block?.until
}
