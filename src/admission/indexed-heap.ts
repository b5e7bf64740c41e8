/** A binary heap whose items know where they stand, so that one in the middle can move or leave in O(log n). */

export interface Placed {
  /** The place of the item in each heap that it is in; -1: it is not. */
  readonly places: number[]
}

export class IndexedHeap<T extends Placed> {
  readonly #items: T[] = []
  readonly #isBefore: (a: T, b: T) => boolean
  readonly #heap: number

  /** @param heap which of an item's places is the one in this heap */
  constructor(heap: number, isBefore: (a: T, b: T) => boolean) {
    this.#heap = heap
    this.#isBefore = isBefore
  }

  get size(): number {
    return this.#items.length
  }

  get first(): T | undefined {
    return this.#items[0]
  }

  add(item: T): void {
    this.#put(item, this.#items.length)
    this.#up(item)
  }

  remove(item: T): void {
    const at = item.places[this.#heap]!
    const last = this.#items.pop()!
    item.places[this.#heap] = -1
    if (last === item) return
    this.#put(last, at)
    this.moved(last)
  }

  /** What an item is ordered by has changed. */
  moved(item: T): void {
    this.#up(item)
    this.#down(item)
  }

  #up(item: T): void {
    let at = item.places[this.#heap]!
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!this.#isBefore(item, this.#items[above]!)) break
      this.#put(this.#items[above]!, at)
      at = above
    }
    this.#put(item, at)
  }

  #down(item: T): void {
    let at = item.places[this.#heap]!
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.#items.length) break
      if (below + 1 < this.#items.length && this.#isBefore(this.#items[below + 1]!, this.#items[below]!))
        below++
      if (!this.#isBefore(this.#items[below]!, item)) break
      this.#put(this.#items[below]!, at)
      at = below
    }
    this.#put(item, at)
  }

  #put(item: T, at: number): void {
    this.#items[at] = item
    item.places[this.#heap] = at
  }
}
