/** One worker as the supervisor sees it: a thread, and another in its place when it dies. */

import { Worker } from 'node:worker_threads'
import type { Ports } from '../listening.ts'
import { errorOf, type FromWorker, type Prepare, type ToWorker, type WorkerData } from './messages.ts'

/** The entry: beside this file in the sources, under a name of its own in the bundle. */
const ENTRY = new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : './worker.js', import.meta.url)

const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 30_000
/** A worker that lived this long has not died of how it starts: the pauses begin anew. */
const SOUND_LIFE_MS = 60_000

/**
 * A loop that has not turned for so many looks, a second apart, serves nobody, and what hangs in it will not end by itself.
 * Looks and not time: a process that was frozen as a whole has had no turns and no looks either.
 */
const HANGING_LOOKS = 10

export interface SupervisedEvents {
  onMessage(worker: SupervisedWorker, message: FromWorker): void
  /** A thread has ended that should not have. Another comes after `pause` milliseconds. */
  onDeath(worker: SupervisedWorker, death: Death): void
  /** Its memory of connections and state no longer holds. */
  onGone(worker: SupervisedWorker): void
}

export interface Death {
  readonly error: unknown
  readonly exitCode: number
  readonly pause: number
}

export interface SupervisedOptions {
  readonly id: number
  /** What a thread is given that starts now. */
  readonly data: () => WorkerData
  /** MiB of JavaScript objects: a worker beyond it dies alone. */
  readonly heapLimit: number
  readonly events: SupervisedEvents
}

export class SupervisedWorker {
  readonly id: number
  restarts = 0
  readonly #options: SupervisedOptions
  #thread: Worker | null = null
  #startedAt = 0
  /** What it said before it ended. */
  #error: unknown = null
  #ports: Ports | null = null
  #failures = 0
  #beats = -1
  /** Looks since its loop was last seen to turn. */
  #silentLooks = 0
  #retry: NodeJS.Timeout | undefined
  /** The thread that was told to prepare itself. */
  #prepared: Worker | null = null
  #awaited: { readonly kind: FromWorker['kind']; readonly answer: PromiseWithResolvers<void> } | null = null
  /** No thread comes after this one. */
  #ending = false
  readonly #built = Promise.withResolvers<void>()
  readonly #listening = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<void>()

  constructor(options: SupervisedOptions) {
    this.id = options.id
    this.#options = options
    // Whoever does not wait for a first step must not fail by it
    this.#built.promise.catch(() => {})
    this.#listening.promise.catch(() => {})
    this.#spawn()
  }

  /** Resolves when it could listen; rejects when its first thread cannot start. */
  get built(): Promise<void> {
    return this.#built.promise
  }

  /** Seconds since its present thread was started; 0: there is none. */
  get uptime(): number {
    return this.#thread === null ? 0 : (performance.now() - this.#startedAt) / 1000
  }

  /** @throws what keeps it from listening */
  listen(ports: Ports): Promise<void> {
    this.#ports = ports
    this.send({ kind: 'listen', ports })
    return this.#listening.promise
  }

  send(message: ToWorker): void {
    this.#thread?.postMessage(message)
  }

  /**
   * Makes its thread ready for another configuration. Where there is none at the moment, the next one starts with what
   * holds by then.
   * @throws what keeps it from that, its end too
   */
  async prepare(message: Prepare): Promise<void> {
    this.#prepared = this.#thread
    if (this.#thread !== null) await this.#ask(message, 'prepared')
  }

  /**
   * Goes on with what was prepared.
   * @param message once more, for a thread that came meanwhile
   * @throws when the thread ends instead
   */
  async swap(message: Prepare): Promise<void> {
    if (this.#thread === null) return
    if (this.#thread !== this.#prepared) this.send(message)
    await this.#ask({ kind: 'swap' }, 'swapped')
  }

  #ask(message: ToWorker, kind: FromWorker['kind']): Promise<void> {
    const answer = Promise.withResolvers<void>()
    this.#awaited = { kind, answer }
    this.send(message)
    return answer.promise
  }

  #hear(message: FromWorker): void {
    const awaited = this.#awaited
    if (message.kind === awaited?.kind) awaited.answer.resolve()
    else if (message.kind === 'unprepared' && awaited?.kind === 'prepared')
      awaited.answer.reject(errorOf(message.fault))
  }

  /** Tells it to end in one of the ways there are, and no other to come; `ended` says when. */
  end(how: 'close' | 'abandon'): void {
    this.#ending = true
    clearTimeout(this.#retry)
    if (this.#thread === null) this.#ended.resolve()
    else this.send({ kind: how })
  }

  /** Resolves when its thread is gone for good. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** Called once a second with a number that grows while its loop turns: one that hangs for long is replaced. */
  watch(beats: number): void {
    if (beats !== this.#beats || this.#thread === null) {
      this.#beats = beats
      this.#silentLooks = 0
    } else if (++this.#silentLooks > HANGING_LOOKS) {
      this.#silentLooks = 0
      this.#error = new Error(`it did not respond for ${HANGING_LOOKS} s`)
      void this.#thread.terminate()
    }
  }

  /** Ends it from outside, whatever it is doing. */
  async terminate(): Promise<void> {
    this.#ending = true
    clearTimeout(this.#retry)
    await this.#thread?.terminate()
  }

  #spawn(): void {
    const { data, heapLimit, events } = this.#options
    const workerData = data()
    this.#startedAt = performance.now()
    this.#error = null
    const thread = new Worker(ENTRY, {
      name: `worker ${this.id}`,
      workerData,
      transferList: [workerData.blocks.port],
      // Policies in a config module may read it
      env: workerData.source.env as NodeJS.Dict<string>,
      resourceLimits: { maxOldGenerationSizeMb: heapLimit },
    })
    this.#thread = thread
    thread.on('message', (message: FromWorker) => {
      if (message.kind === 'failed') this.#error = errorOf(message.fault)
      else if (message.kind === 'built') this.#onBuilt()
      else if (message.kind === 'listening') this.#listening.resolve()
      else this.#hear(message)
      events.onMessage(this, message)
    })
    thread.on('error', error => {
      this.#error = error
    })
    thread.on('exit', code => this.#onExit(code))
  }

  #onBuilt(): void {
    this.#built.resolve()
    if (this.#ports !== null) this.send({ kind: 'listen', ports: this.#ports })
  }

  #onExit(exitCode: number): void {
    const { events } = this.#options
    const lived = performance.now() - this.#startedAt
    this.#thread = null
    events.onGone(this)
    const error = this.#error ?? new Error(`the thread ended with ${exitCode}`)
    this.#built.reject(error)
    this.#listening.reject(error)
    this.#awaited?.answer.reject(error)
    this.#awaited = null
    if (this.#ending) return this.#ended.resolve()
    if (lived >= SOUND_LIFE_MS) this.#failures = 0
    const pause = this.#failures === 0 ? 0 : Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures)
    this.#failures++
    events.onDeath(this, { error: this.#error, exitCode, pause })
    this.#retry = setTimeout(() => {
      this.restarts++
      this.#spawn()
    }, pause)
  }
}
