/**
 * Who is next at an upstream: a start-time fair queue (Goyal, Vin and Cheng, 1996) by company.
 *
 * Each company has a finish tag, which grows by `cost / weight` with each of its requests that is served. The one that
 * waits with the least start tag is next; the virtual time is the start tag of the one served last. A company that comes
 * back starts at the virtual time, so none saves up credit while it is away. In any time in which two companies wait,
 * what they get differs by no more than one request of each: `|Wa/wa - Wb/wb| <= la/wa + lb/wb`.
 *
 * Tags are taken when a request comes to the head of its company, which gives the same order as taking them on arrival
 * and leaves nothing to put right when one in the middle leaves.
 *
 * Pure: time is the caller's. Tags may be shared with the queues of other threads, which the company waits in as well.
 */

import { IndexedHeap, type Placed } from './indexed-heap.ts'

/** Finish tags of companies, and the virtual time. In units of cost. */
export interface Tags<Key> {
  keyOf(company: string): Key
  /** The start tag of the virtual time. */
  readonly virtualTime: number
  /** 0 where there is none, or none any more. */
  finishOf(key: Key): number
  /** One that started at `start` is served: `finish = max(finish, start) + cost`. */
  serve(key: Key, start: number, cost: number): void
  /** One that was served has cost more than was thought, or less. */
  correct(key: Key, difference: number): void
  /** Nobody waits any more: all are equal again. */
  idle(): void
}

export type RefusalReason = 'full' | 'deadline'

/** One that waits. Its place in the queue is the queue's to know. */
export abstract class Waiting {
  readonly company: string
  readonly weight: number
  /** Milliseconds, of the clock that the queue is told. */
  readonly since: number
  /** The queue's own. */
  flow: Flow | null = null
  before: Waiting | null = null
  behind: Waiting | null = null
  older: Waiting | null = null
  newer: Waiting | null = null

  constructor(company: string, weight: number, since: number) {
    this.company = company
    this.weight = weight
    this.since = since
  }

  /**
   * It is its turn; it is in the queue no longer.
   * @param cost what its company was charged
   * @param inUse requests that the upstream has now, this one included
   */
  abstract onTurn(cost: number, inUse: number): void
  /** It is in the queue no longer. */
  abstract onRefused(reason: RefusalReason): void
}

/** A company with requests that wait, in order of arrival. */
class Flow implements Placed {
  readonly places = [-1, -1]
  readonly company: string
  readonly key: unknown
  weight = 1
  count = 0
  head: Waiting | null = null
  tail: Waiting | null = null
  /** The virtual time when it began to wait. */
  readonly since: number
  /** Start tag of its head. */
  tag = 0

  constructor(company: string, key: unknown, since: number) {
    this.company = company
    this.key = key
    this.since = since
  }

  get backlog(): number {
    return this.count / this.weight
  }
}

export interface QueueOptions {
  /** Requests that may wait. */
  readonly size: number
  /** Milliseconds that one may wait. */
  readonly timeout: number
  /** What a request of a company is expected to cost. */
  readonly costOf: (company: string) => number
}

export interface Served {
  readonly waiting: Waiting
  /** What its company was charged. */
  readonly cost: number
}

/** Companies whose turn it cannot be now, whatever their tags. */
export type PassedOver = (company: string) => boolean

const BY_TAG = 0
const BY_BACKLOG = 1

export class FairQueue<Key> {
  readonly #options: QueueOptions
  readonly #tags: Tags<Key>
  readonly #flows = new Map<string, Flow>()
  readonly #byTag = new IndexedHeap<Flow>(BY_TAG, (a, b) => a.tag < b.tag)
  readonly #byBacklog = new IndexedHeap<Flow>(BY_BACKLOG, (a, b) => a.backlog > b.backlog)
  #oldest: Waiting | null = null
  #newest: Waiting | null = null
  #count = 0
  #weights = 0

  constructor(options: QueueOptions, tags: Tags<Key>) {
    this.#options = options
    this.#tags = tags
  }

  get count(): number {
    return this.#count
  }

  /** Of all companies that wait, together. */
  get weights(): number {
    return this.#weights
  }

  countOf(company: string): number {
    return this.#flows.get(company)?.count ?? 0
  }

  /** The start tag of the one that is next; Infinity: nobody waits, but for those that are passed over. */
  least(passedOver: PassedOver | null = null): number {
    return this.#first(passedOver)?.tag ?? Number.POSITIVE_INFINITY
  }

  /** The company that is next; null: nobody waits, but for those that are passed over. */
  nextCompany(passedOver: PassedOver | null = null): string | null {
    return this.#first(passedOver)?.company ?? null
  }

  /**
   * Takes one in. Where that is one too many, the newest of the company that has most waiting for its weight has to go:
   * as many as its share of the places are always left to a company.
   */
  add(waiting: Waiting): void {
    const flow = this.#flows.get(waiting.company) ?? this.#begin(waiting.company)
    this.#setWeight(flow, waiting.weight)
    waiting.flow = flow
    waiting.before = flow.tail
    if (flow.tail === null) flow.head = waiting
    else flow.tail.behind = waiting
    flow.tail = waiting
    waiting.older = this.#newest
    if (this.#newest === null) this.#oldest = waiting
    else this.#newest.newer = waiting
    this.#newest = waiting
    this.#counted(flow, 1)
    if (this.#count <= this.#options.size) return
    const most = this.#byBacklog.first!
    const over = flow.backlog >= most.backlog ? flow : most
    this.#refuse(over.tail!, 'full')
  }

  /** Takes out the one whose turn it is, and charges its company. */
  next(): Served | null {
    const flow = this.#first(null)
    return flow === undefined ? null : this.#serve(flow)
  }

  /** The same of a company that has any waiting. */
  nextOf(company: string): Served {
    return this.#serve(this.#flows.get(company)!)
  }

  #serve(flow: Flow): Served {
    const waiting = flow.head!
    const cost = this.#options.costOf(flow.company)
    this.#tags.serve(flow.key as Key, flow.tag, cost / flow.weight)
    this.remove(waiting)
    return { waiting, cost }
  }

  /** One that was served has cost so much more, or less, than it was charged. */
  correct(company: string, weight: number, difference: number): void {
    const flow = this.#flows.get(company)
    this.#tags.correct((flow?.key as Key | undefined) ?? this.#tags.keyOf(company), difference / weight)
    if (flow === undefined) return
    flow.tag = this.#startOf(flow)
    this.#byTag.moved(flow)
  }

  /** One leaves of its own accord. */
  remove(waiting: Waiting): void {
    const { flow, before, behind, older, newer } = waiting
    if (flow === null) return
    if (before === null) flow.head = behind
    else before.behind = behind
    if (behind === null) flow.tail = before
    else behind.before = before
    if (older === null) this.#oldest = newer
    else older.newer = newer
    if (newer === null) this.#newest = older
    else newer.older = older
    waiting.flow = null
    waiting.before = null
    waiting.behind = null
    waiting.older = null
    waiting.newer = null
    this.#counted(flow, -1)
    if (flow.count === 0) return this.#end(flow)
    flow.tag = this.#startOf(flow)
    this.#byTag.moved(flow)
  }

  /** Refuses those that have waited for too long. */
  expire(now: number): void {
    const latest = now - this.#options.timeout
    while (this.#oldest !== null && this.#oldest.since <= latest) this.#refuse(this.#oldest, 'deadline')
  }

  #refuse(waiting: Waiting, reason: RefusalReason): void {
    this.remove(waiting)
    waiting.onRefused(reason)
  }

  /** The one with the least tag of those that are not passed over, who are few. */
  #first(passedOver: PassedOver | null): Flow | undefined {
    const first = this.#least()
    if (first === undefined || passedOver?.(first.company) !== true) return first
    const aside: Flow[] = []
    let flow: Flow | undefined = first
    while (flow !== undefined && passedOver(flow.company)) {
      this.#byTag.remove(flow)
      aside.push(flow)
      flow = this.#least()
    }
    for (const each of aside) this.#byTag.add(each)
    return flow
  }

  /** Other threads serve the company too, so that its tag may have grown since. It never stands too far back for that. */
  #least(): Flow | undefined {
    for (;;) {
      const flow = this.#byTag.first
      if (flow === undefined) return undefined
      const tag = this.#startOf(flow)
      if (tag === flow.tag) return flow
      flow.tag = tag
      this.#byTag.moved(flow)
    }
  }

  #startOf(flow: Flow): number {
    return Math.max(flow.since, this.#tags.finishOf(flow.key as Key))
  }

  #begin(company: string): Flow {
    const flow = new Flow(company, this.#tags.keyOf(company), this.#tags.virtualTime)
    flow.tag = this.#startOf(flow)
    this.#weights += flow.weight
    this.#flows.set(company, flow)
    this.#byTag.add(flow)
    this.#byBacklog.add(flow)
    return flow
  }

  #end(flow: Flow): void {
    this.#weights -= flow.weight
    this.#flows.delete(flow.company)
    this.#byTag.remove(flow)
    this.#byBacklog.remove(flow)
  }

  #setWeight(flow: Flow, weight: number): void {
    if (flow.weight === weight) return
    this.#weights += weight - flow.weight
    flow.weight = weight
  }

  #counted(flow: Flow, by: number): void {
    this.#count += by
    flow.count += by
    this.#byBacklog.moved(flow)
  }
}
