/**
 * A connection to the Redis that several gateways share, of which nothing is expected: each call waits for so long and no
 * longer, and once one has waited in vain nobody else waits until Redis has answered a question of the link's own.
 */

import { readFileSync } from 'node:fs'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { RedisConfig } from '../config/redis.ts'

export type RedisClient = Redis | Cluster

export interface RedisEvents {
  /** It does not answer, or not in time. Told once, until it is up again. */
  onDown(reason: string): void
  onUp(): void
}

/** Redis is away, or too slow to wait for. */
export class RedisUnavailable extends Error {
  override readonly name = 'RedisUnavailable'
}

/** Between two questions whether it is back. */
const PROBE_MS = 100
const CONNECT_TIMEOUT_MS = 1_000
const MAX_RECONNECT_MS = 1_000

export class RedisLink {
  readonly client: RedisClient
  readonly prefix: string
  readonly #timeoutMs: number
  readonly #events: RedisEvents
  #up = false
  /** It has been up or down before: what comes then is a change. */
  #told: boolean | null = null
  #probe: NodeJS.Timeout | null = null
  #closed = false

  constructor(config: RedisConfig, events: RedisEvents) {
    this.prefix = config.prefix
    this.#timeoutMs = config.timeout * 1000
    this.#events = events
    this.client = connect(config)
    // Each failure is told by whoever waits for it
    this.client.on('error', error => this.#fail(error.message))
    this.client.on('ready', () => void this.#ask())
    this.client.on('close', () => this.#fail('the connection is closed'))
  }

  /** It answered the last time, and in time. */
  get up(): boolean {
    return this.#up
  }

  /**
   * What `work` asks of Redis, or a rejection with `RedisUnavailable` after the configured time at the latest, at once
   * while Redis is known to be away. What was asked may have been done all the same.
   */
  async run<T>(work: (client: RedisClient) => Promise<T>): Promise<T> {
    if (!this.#up) throw new RedisUnavailable('Redis is not available')
    try {
      return await this.#inTime(work(this.client))
    } catch (error) {
      if (isAnswer(error)) throw error
      const reason = (error as Error).message
      this.#fail(reason)
      throw error instanceof RedisUnavailable ? error : new RedisUnavailable(reason, { cause: error })
    }
  }

  /** For who got an answer that makes no sense: those behind it may belong to other questions, so none of them counts. */
  distrust(): void {
    this.client.disconnect(true)
  }

  close(): void {
    this.#closed = true
    this.#up = false
    if (this.#probe !== null) clearTimeout(this.#probe)
    this.client.disconnect()
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // A loop that was busy for so long finds the answer behind the timers: it is read first
      const late = (): NodeJS.Immediate =>
        setImmediate(() => reject(new RedisUnavailable(`no answer within ${this.#timeoutMs} ms`)))
      const timer = setTimeout(late, this.#timeoutMs)
      answer.then(
        value => {
          clearTimeout(timer)
          resolve(value)
        },
        error => {
          clearTimeout(timer)
          reject(error)
        },
      )
    })
  }

  #fail(reason: string): void {
    if (this.#closed) return
    this.#up = false
    if (this.#told !== false) {
      this.#told = false
      this.#events.onDown(reason)
    }
    this.#askSoon()
  }

  #askSoon(): void {
    if (this.#probe !== null || this.#closed) return
    this.#probe = setTimeout(() => {
      this.#probe = null
      void this.#ask()
    }, PROBE_MS)
    this.#probe.unref()
  }

  async #ask(): Promise<void> {
    if (this.#up || this.#closed) return
    try {
      const answer = await this.#inTime(this.client.ping())
      if (answer !== 'PONG') {
        this.distrust()
        throw new RedisUnavailable('it does not answer what it is asked')
      }
    } catch (error) {
      return this.#fail((error as Error).message)
    }
    if (this.#closed) return
    this.#up = true
    if (this.#told !== true) {
      this.#told = true
      this.#events.onUp()
    }
  }
}

/** Redis spoke: a mistake in what was asked, unlike a server that will not or cannot serve. */
function isAnswer(error: unknown): boolean {
  return (
    error instanceof Error &&
    error.name === 'ReplyError' &&
    !/^(?:ERR Error running script.* -?)?(?:READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|OOM|MISCONF|NOREPLICAS|BUSY|NOAUTH|WRONGPASS)\b/.test(
      error.message,
    )
  )
}

function connect({ url, ca }: RedisConfig): RedisClient {
  const { kind, hosts, master, database, username, password } = url
  const tls = url.tls ? { ...(ca === undefined ? {} : { ca: readFileSync(ca) }) } : undefined
  const common = {
    db: database,
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
    connectTimeout: CONNECT_TIMEOUT_MS,
    // Nobody waits in a queue for a server that is not there
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: (tries: number) => Math.min(MAX_RECONNECT_MS, 50 * 2 ** Math.min(tries, 6)),
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  } satisfies RedisOptions
  if (kind === 'cluster') {
    return new Cluster([...hosts], {
      redisOptions: common,
      enableOfflineQueue: false,
      clusterRetryStrategy: tries => Math.min(MAX_RECONNECT_MS, 50 * 2 ** Math.min(tries, 6)),
    })
  }
  if (kind === 'sentinel') {
    return new Redis({
      ...common,
      sentinels: [...hosts],
      name: master,
      ...(tls === undefined ? {} : { sentinelTLS: tls, enableTLSForSentinelMode: true }),
    })
  }
  return new Redis({ ...common, ...hosts[0]! })
}
