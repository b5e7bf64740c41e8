/** Something that can stand in an `IdleStack`, in one at a time. */
export interface Stacked {
  below: Stacked | null
  above: Stacked | null
}

/** The idle connections of a pool: the one used last on top, any of them removed without a search. */
export class IdleStack<T extends Stacked> {
  #top: T | null = null
  #bottom: T | null = null
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The one that was used longest ago. */
  get bottom(): T | null {
    return this.#bottom
  }

  push(item: T): void {
    item.below = this.#top
    item.above = null
    if (this.#top === null) this.#bottom = item
    else this.#top.above = item
    this.#top = item
    this.#size++
  }

  pop(): T | undefined {
    const top = this.#top
    if (top === null) return undefined
    this.remove(top)
    return top
  }

  /** Nothing happens when it is not in here. */
  remove(item: T): void {
    if (item !== this.#top && item.above === null) return
    const { below, above } = item as { below: T | null; above: T | null }
    if (above === null) this.#top = below
    else above.below = below
    if (below === null) this.#bottom = above
    else below.above = above
    item.below = null
    item.above = null
    this.#size--
  }

  /** From the top down. */
  *[Symbol.iterator](): Generator<T> {
    for (let item = this.#top; item !== null; ) {
      const { below } = item as { below: T | null }
      yield item
      item = below
    }
  }
}
