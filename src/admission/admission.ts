/** The slots of every upstream that has a fair queue, by name. Made by the main thread, attached by each worker. */

import { SharedCounters } from '../store/shared-counters.ts'
import { Slots, type SlotsView } from './slots.ts'

/** Companies that wait at a time, at all upstreams; 4.6 MB, of which the system gives what is used. */
const MAX_COMPANIES = 65_536

export interface AdmissionBuffers {
  /** Absent where no upstream has a queue. */
  readonly tags: SharedArrayBuffer | null
  readonly slots: Readonly<Record<string, SharedArrayBuffer>>
}

export class Admission {
  readonly #tags: SharedCounters | null
  readonly #slots: ReadonlyMap<string, Slots>

  private constructor(tags: SharedCounters | null, slots: ReadonlyMap<string, Slots>) {
    this.#tags = tags
    this.#slots = slots
  }

  static create(upstreams: readonly string[], workers: number): Admission {
    const tags = upstreams.length === 0 ? null : SharedCounters.create({ capacity: MAX_COMPANIES })
    return new Admission(tags, new Map(upstreams.map(name => [name, Slots.create(workers)])))
  }

  static attach({ tags, slots }: AdmissionBuffers): Admission {
    const attached = Object.entries(slots).map(([name, buffer]) => [name, Slots.attach(buffer)] as const)
    return new Admission(tags === null ? null : SharedCounters.attach(tags), new Map(attached))
  }

  get buffers(): AdmissionBuffers {
    const slots = [...this.#slots].map(([name, { buffer }]) => [name, buffer] as const)
    return { tags: this.#tags?.buffer ?? null, slots: Object.fromEntries(slots) }
  }

  /** null: the main thread knows of no such upstream, since the config file has changed after it read it. */
  at(upstream: string): { readonly slots: Slots; readonly tags: SharedCounters } | null {
    const slots = this.#slots.get(upstream)
    return slots === undefined || this.#tags === null ? null : { slots, tags: this.#tags }
  }

  /** A worker is gone, and what it had at the upstreams with it. */
  clear(worker: number): void {
    for (const slots of this.#slots.values()) slots.clear(worker, Date.now())
  }

  get view(): (SlotsView & { readonly name: string })[] {
    return [...this.#slots].map(([name, { view }]) => ({ name, ...view }))
  }
}
