/** What is least comes first; equals in order of arrival. */
export class MinHeap<T> {
  readonly #key: (item: T) => number
  readonly #items: { item: T; order: number }[] = []
  #order = 0

  constructor(key: (item: T) => number) {
    this.#key = key
  }

  peek(): T | undefined {
    return this.#items[0]?.item
  }

  push(item: T): void {
    const items = this.#items
    let at = items.length
    items.push({ item, order: this.#order++ })
    for (let up = (at - 1) >> 1; at > 0 && this.#before(at, up); up = (at - 1) >> 1) {
      this.#swap(at, up)
      at = up
    }
  }

  pop(): T | undefined {
    const items = this.#items
    if (items.length === 0) return undefined
    this.#swap(0, items.length - 1)
    const { item } = items.pop()!
    for (let at = 0; ; ) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < items.length && this.#before(child, least)) least = child
      if (least === at) return item
      this.#swap(at, least)
      at = least
    }
  }

  #before(a: number, b: number): boolean {
    const [x, y] = [this.#items[a]!, this.#items[b]!]
    const difference = this.#key(x.item) - this.#key(y.item)
    return difference === 0 ? x.order < y.order : difference < 0
  }

  #swap(a: number, b: number): void {
    const items = this.#items
    ;[items[a], items[b]] = [items[b]!, items[a]!]
  }
}
