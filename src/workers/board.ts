/**
 * What the threads of one gateway see of each other, in shared memory: where the gateway stands, the state of each worker
 * and what it counts, which tokens are revoked, which tickets are out, and who is at which upstream. Made by the main
 * thread, attached by each worker.
 */

import { Admission, type AdmissionBuffers } from '../admission/admission.ts'
import { DEFAULT_MAX_KEYS } from '../config/limits.ts'
import { Slots } from '../limits/slots.ts'
import { type RevocationBuffers, Revocations } from '../store/revocations.ts'
import { SharedCounters } from '../store/shared-counters.ts'
import { Tickets } from '../store/tickets.ts'
import { type CountedNames, WorkerCounters } from '../store/worker-counters.ts'

export type Phase = 'starting' | 'running' | 'draining'
export type WorkerState = 'down' | 'starting' | 'listening' | 'ready'

const PHASES: readonly Phase[] = ['starting', 'running', 'draining']
const STATES: readonly WorkerState[] = ['down', 'starting', 'listening', 'ready']

const COUNTED = {
  totals: ['requests', 'beats', 'limited', 'wouldBeLimited', 'limitsLocal', 'redisWaits', 'redisCalls'],
  gauges: ['connections', 'redisUp'],
} as const satisfies CountedNames<string, string>

type Totals = (typeof COUNTED.totals)[number]
type Gauges = (typeof COUNTED.gauges)[number]

/** Sign-outs and revoked users at a time; 4.6 MB, of which the system gives what is used. */
const MAX_REVOCATIONS = 65_536

/** What another thread needs to attach. */
export interface BoardBuffers {
  /** The phase, then the state of each worker. */
  readonly states: SharedArrayBuffer
  readonly counters: SharedArrayBuffer
  readonly revocations: RevocationBuffers
  readonly tickets: SharedArrayBuffer
  readonly limits: SharedArrayBuffer
  /** One cell: it moves on when a worker has died. */
  readonly era: SharedArrayBuffer
  readonly admission: AdmissionBuffers
}

export interface BoardOptions {
  /** How many counters of limits are in use at a time; the system gives what is used of about 61 bytes each. */
  readonly limitKeys?: number | undefined
  /** Upstreams that have a fair queue, by key. */
  readonly queued?: ReadonlyMap<string, { readonly name: string }>
}

export class Board {
  readonly #fixed: Omit<BoardBuffers, 'admission'>
  readonly workers: number
  readonly revocations: Revocations
  /** 49 MiB, of which the system gives what is used. */
  readonly tickets: Tickets
  readonly limits: SharedCounters
  /** For `limits/slots.ts`. */
  readonly era: Int32Array
  readonly admission: Admission
  readonly counters: WorkerCounters<Totals, Gauges>
  readonly #states: Int32Array

  private constructor(
    states: SharedArrayBuffer,
    counters: WorkerCounters<Totals, Gauges>,
    revocations: Revocations,
    tickets: Tickets,
    limits: SharedCounters,
    era: SharedArrayBuffer,
    admission: Admission,
  ) {
    this.#fixed = {
      states,
      counters: counters.buffer,
      revocations: revocations.buffers,
      tickets: tickets.buffer,
      limits: limits.buffer,
      era,
    }
    this.workers = counters.workers
    this.counters = counters
    this.revocations = revocations
    this.tickets = tickets
    this.limits = limits
    this.era = new Int32Array(era)
    this.admission = admission
    this.#states = new Int32Array(states)
  }

  static create(
    workers: number,
    { limitKeys = DEFAULT_MAX_KEYS, queued = new Map() }: BoardOptions = {},
  ): Board {
    return new Board(
      new SharedArrayBuffer((1 + workers) * Int32Array.BYTES_PER_ELEMENT),
      WorkerCounters.create(COUNTED, workers),
      Revocations.create(MAX_REVOCATIONS),
      Tickets.create(),
      SharedCounters.create({ capacity: limitKeys }),
      new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT),
      Admission.create(queued, workers),
    )
  }

  static attach({ states, counters, revocations, tickets, limits, era, admission }: BoardBuffers): Board {
    return new Board(
      states,
      WorkerCounters.attach(COUNTED, counters),
      Revocations.attach(revocations),
      Tickets.attach(tickets),
      SharedCounters.attach(limits),
      era,
      Admission.attach(admission),
    )
  }

  /** What a thread needs that attaches now. */
  get buffers(): BoardBuffers {
    return { ...this.#fixed, admission: this.admission.buffers }
  }

  get phase(): Phase {
    return PHASES[Atomics.load(this.#states, 0)]!
  }

  set phase(phase: Phase) {
    Atomics.store(this.#states, 0, PHASES.indexOf(phase))
  }

  state(id: number): WorkerState {
    return STATES[Atomics.load(this.#states, 1 + id)]!
  }

  setState(id: number, state: WorkerState): void {
    Atomics.store(this.#states, 1 + id, STATES.indexOf(state))
  }

  /**
   * Every worker that serves can answer what its routes promise, and the gateway is not stopping. One that died counts
   * again once it listens: its connections have gone to the others, and what kills workers should not be able to take
   * the whole machine out of a load balancer's list as well.
   */
  get ready(): boolean {
    const serving = this.serving.map(id => this.state(id))
    return this.phase === 'running' && serving.length > 0 && serving.every(state => state === 'ready')
  }

  /** The workers that listen. */
  get serving(): number[] {
    const ids = Array.from({ length: this.workers }, (_, id) => id)
    return ids.filter(id => this.state(id) === 'listening' || this.state(id) === 'ready')
  }

  connections(id: number): number {
    return this.counters.cell(id, 'connections').value
  }

  requests(id: number): number {
    return this.counters.cell(id, 'requests').value
  }

  /** Turns of the loop that a worker has reported: where they do not grow, it hangs. */
  beats(id: number): number {
    return this.counters.cell(id, 'beats').value
  }

  /** A worker is gone, and its connections with it. What it did stays counted. */
  clear(id: number): void {
    this.setState(id, 'down')
    this.counters.resetGauges(id)
    Slots.beginEra(this.era)
    this.admission.clear(id)
  }
}
