/** Finish tags of one thread, exact. What gateways use lies in shared memory and is in whole numbers. */

import type { Tags } from '../../src/admission/fair-queue.ts'

export class PlainTags implements Tags<string> {
  virtualTime = 0
  readonly #finish = new Map<string, number>()

  keyOf(company: string): string {
    return company
  }

  finishOf(company: string): number {
    return this.#finish.get(company) ?? 0
  }

  serve(company: string, start: number, cost: number): void {
    this.virtualTime = Math.max(this.virtualTime, start)
    this.#finish.set(company, Math.max(this.finishOf(company), start) + cost)
  }

  correct(company: string, difference: number): void {
    this.#finish.set(company, this.finishOf(company) + difference)
  }

  idle(): void {
    this.virtualTime = Math.max(this.virtualTime, ...this.#finish.values())
  }
}
