/** What the main threads of several gateways have in common: each keeps all of it, and tells the others what is new. */

export interface Book<Entry> {
  /** What is known, for whoever may not know it yet. */
  entries(): Iterable<Entry>
  /** What is known of the same as the entry is about. */
  find(entry: Entry): Entry | undefined
  /**
   * Takes in what is known elsewhere, as far as it is news.
   *
   * @returns how many found no room
   */
  adopt(entries: readonly Entry[]): number
}

/** What takes part in a book beside this process. */
export interface Sharing<Entry> {
  /** Said here, just now. */
  announce(entry: Entry): void
  /** Over: what was said about it need not be kept. */
  forget(entries: readonly Entry[]): void
}
