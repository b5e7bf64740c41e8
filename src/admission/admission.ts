/** The slots of every upstream that has a fair queue. Made by the main thread, attached by each worker. */

import { SharedCounters } from '../store/shared-counters.ts'
import { Slots, type SlotsView } from './slots.ts'

/** Companies that wait at a time, at all upstreams; 4.6 MB, of which the system gives what is used. */
const MAX_COMPANIES = 65_536

/** Upstreams by their keys. */
type Upstreams = ReadonlyMap<string, { readonly name: string }>

export interface AdmissionBuffers {
  readonly tags: SharedArrayBuffer
  readonly slots: readonly {
    readonly key: string
    readonly name: string
    readonly buffer: SharedArrayBuffer
  }[]
}

interface Entry {
  readonly name: string
  readonly slots: Slots
}

export class Admission {
  readonly #tags: SharedCounters
  readonly #entries = new Map<string, Entry>()
  readonly #workers: number
  /** Upstreams of the configuration that serves. */
  #present: Upstreams = new Map()

  private constructor(tags: SharedCounters, workers: number) {
    this.#tags = tags
    this.#workers = workers
  }

  static create(upstreams: Upstreams, workers: number): Admission {
    const admission = new Admission(SharedCounters.create({ capacity: MAX_COMPANIES }), workers)
    admission.add(upstreams)
    admission.show(upstreams)
    return admission
  }

  static attach(buffers: AdmissionBuffers): Admission {
    const admission = new Admission(SharedCounters.attach(buffers.tags), 0)
    admission.adopt(buffers)
    return admission
  }

  /**
   * Another configuration is about to take over, in which there are more. Those that no configuration has stay for as
   * long as requests have slots of theirs or wait for one.
   */
  add(upstreams: Upstreams): void {
    for (const [key, { slots }] of this.#entries) {
      if (!this.#present.has(key) && !upstreams.has(key) && isIdle(slots.view)) this.#entries.delete(key)
    }
    for (const [key, { name }] of upstreams) {
      if (!this.#entries.has(key)) this.#entries.set(key, { name, slots: Slots.create(this.#workers) })
    }
  }

  /** It has taken over. */
  show(upstreams: Upstreams): void {
    this.#present = upstreams
    for (const [key, { name }] of upstreams) {
      const { slots } = this.#entries.get(key)!
      this.#entries.set(key, { name, slots })
    }
  }

  /** Takes in what the main thread has, and nothing else. */
  adopt({ slots }: AdmissionBuffers): void {
    const known = new Map(this.#entries)
    this.#entries.clear()
    for (const { key, name, buffer } of slots) {
      const before = known.get(key)?.slots
      this.#entries.set(key, {
        name,
        slots: before?.buffer === buffer ? before : Slots.attach(buffer),
      })
    }
  }

  get buffers(): AdmissionBuffers {
    const slots = [...this.#entries].map(([key, { name, slots }]) => ({ key, name, buffer: slots.buffer }))
    return { tags: this.#tags.buffer, slots }
  }

  /** null: the main thread knows of no such upstream, since the config file has changed after it read it. */
  at(key: string): { readonly slots: Slots; readonly tags: SharedCounters } | null {
    const entry = this.#entries.get(key)
    return entry === undefined ? null : { slots: entry.slots, tags: this.#tags }
  }

  /** A worker is gone, and what it had at the upstreams with it. */
  clear(worker: number): void {
    for (const { slots } of this.#entries.values()) slots.clear(worker, Date.now())
  }

  /** Of the upstreams there are, and of those that are gone and have requests yet. */
  get view(): (SlotsView & { readonly name: string })[] {
    return [...this.#entries]
      .map(([key, { name, slots }]) => ({ key, name, view: slots.view }))
      .filter(({ key, view }) => this.#present.has(key) || !isIdle(view))
      .map(({ name, view }) => ({ name, ...view }))
  }
}

/** Whether no request has a slot or waits for one. */
const isIdle = ({ inUse, waiting }: SlotsView): boolean => inUse === 0 && waiting === 0
