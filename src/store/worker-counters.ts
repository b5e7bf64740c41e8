/**
 * Counts that each worker keeps for itself and everyone may read: totals and gauges for metrics.
 *
 * One cache line per worker and name, so that no thread slows another down, and one writer per line, so that a plain
 * addition is enough (1 ns, where an atomic one costs 20). Values are 64-bit floats, exact up to 2^53. The language
 * lets a reader in another thread see half of such a write; no 64-bit processor does that to an aligned one.
 */

import { checkBuffer, createBuffer, HEADER_BYTES, type Layout, OWN_HEADER_WORD } from './shared-header.ts'

const LAYOUT: Layout = { name: 'worker counters', kind: 2, version: 1 }

const LINE_BYTES = 64
const LINE_FLOATS = LINE_BYTES / 8

const WORKERS_AT = OWN_HEADER_WORD
const NAMES_BYTES_AT = OWN_HEADER_WORD + 1

/** What is counted, fixed when the memory is laid out. The same object belongs to `create` and to every `attach`. */
export interface CountedNames<Total extends string, Gauge extends string> {
  /** Only grow, and outlive the worker: requests, refusals, bytes. */
  readonly totals: readonly Total[]
  /** What is going on now in a worker, and ends with it: connections, exchanges. */
  readonly gauges: readonly Gauge[]
}

/** One number that one worker writes. */
export class Cell {
  readonly #floats: Float64Array
  readonly #at: number

  constructor(floats: Float64Array, at: number) {
    this.#floats = floats
    this.#at = at
  }

  /** Adds to it; less than zero takes away. Only the worker that the cell belongs to may call this. */
  add(amount: number): void {
    this.#floats[this.#at] = this.#floats[this.#at]! + amount
  }

  /** Any thread may read it. */
  get value(): number {
    return this.#floats[this.#at]!
  }
}

export class WorkerCounters<Total extends string, Gauge extends string> {
  readonly buffer: SharedArrayBuffer
  /** Workers are numbered from 0 up to this. */
  readonly workers: number
  readonly #floats: Float64Array
  readonly #names: readonly (Total | Gauge)[]
  readonly #gauges: readonly Gauge[]

  private constructor(names: CountedNames<Total, Gauge>, buffer: SharedArrayBuffer) {
    const header = new Int32Array(buffer, 0, HEADER_BYTES / 4)
    this.buffer = buffer
    this.workers = header[WORKERS_AT]!
    this.#names = [...names.totals, ...names.gauges]
    this.#gauges = names.gauges
    this.#floats = new Float64Array(buffer, HEADER_BYTES + wholeLines(header[NAMES_BYTES_AT]!))
  }

  /**
   * Zeroes for a number of workers: 64 bytes for each and each name. Hand the `buffer` to the workers.
   *
   * @throws RangeError when `workers` is not a positive integer
   * @throws TypeError when a name stands twice
   */
  static create<Total extends string, Gauge extends string>(
    names: CountedNames<Total, Gauge>,
    workers: number,
  ): WorkerCounters<Total, Gauge> {
    if (!Number.isInteger(workers) || workers < 1) throw new RangeError('counters need one worker at least')
    const all = [...names.totals, ...names.gauges]
    if (new Set(all).size < all.length) throw new TypeError('a counter is named twice')
    const encoded = encode(names)
    const bytes = wholeLines(encoded.length) + workers * all.length * LINE_BYTES
    const buffer = createBuffer(LAYOUT, bytes)
    const header = new Int32Array(buffer, 0, HEADER_BYTES / 4)
    header[WORKERS_AT] = workers
    header[NAMES_BYTES_AT] = encoded.length
    new Uint8Array(buffer, HEADER_BYTES).set(encoded)
    return new WorkerCounters(names, buffer)
  }

  /**
   * The counters that another thread created.
   *
   * @throws TypeError when the buffer holds something else, or other names
   */
  static attach<Total extends string, Gauge extends string>(
    names: CountedNames<Total, Gauge>,
    buffer: SharedArrayBuffer,
  ): WorkerCounters<Total, Gauge> {
    checkBuffer(LAYOUT, buffer)
    const encoded = encode(names)
    const length = new Int32Array(buffer, 0, HEADER_BYTES / 4)[NAMES_BYTES_AT]!
    const stored = new Uint8Array(buffer, HEADER_BYTES, length)
    if (length !== encoded.length || !encoded.every((byte, at) => byte === stored[at]))
      throw new TypeError(`${LAYOUT.name} were created with other names`)
    return new WorkerCounters(names, buffer)
  }

  /**
   * The number that one worker writes. Look it up once, at start.
   *
   * @throws RangeError when there is no such worker or name
   */
  cell(worker: number, name: Total | Gauge): Cell {
    return new Cell(this.#floats, this.#at(worker, name))
  }

  /** The sum over all workers, those that are gone included. */
  sum(name: Total | Gauge): number {
    let sum = 0
    for (let worker = 0; worker < this.workers; worker++) sum += this.#floats[this.#at(worker, name)]!
    return sum
  }

  /**
   * Sets the gauges of a worker to zero and leaves its totals. For the supervisor, after the worker has ended and before
   * another one takes its number.
   */
  resetGauges(worker: number): void {
    for (const name of this.#gauges) this.#floats[this.#at(worker, name)] = 0
  }

  #at(worker: number, name: Total | Gauge): number {
    const index = this.#names.indexOf(name)
    if (index < 0) throw new RangeError(`no counter is named ${name}`)
    if (!Number.isInteger(worker) || worker < 0 || worker >= this.workers)
      throw new RangeError(`there is no worker ${worker}`)
    return (worker * this.#names.length + index) * LINE_FLOATS
  }
}

function encode({ totals, gauges }: CountedNames<string, string>): Uint8Array {
  return new TextEncoder().encode(JSON.stringify([totals, gauges]))
}

function wholeLines(bytes: number): number {
  return Math.ceil(bytes / LINE_BYTES) * LINE_BYTES
}
