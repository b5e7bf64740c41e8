/** The connections to one endpoint: the most recently used idle one first, a bound on all, a queue behind the bound. */

import { GatewayError } from '../errors.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import type { Endpoint } from './endpoint.ts'
import { IdleStack } from './idle-stack.ts'

/** Requests that may wait for a connection to one endpoint; beyond, waiting would not help either. */
const MAX_WAITING = 4_096

/** Who asks for a connection. */
export interface PoolClient {
  onConnection(connection: Connection): void
  /** There was none in time: `upstream_busy`. */
  onNoConnection(error: GatewayError): void
}

export class Pool implements ConnectionOwner {
  readonly endpoint: Endpoint
  readonly #idle = new IdleStack<Connection>()
  readonly #all = new Set<Connection>()
  /** In order of arrival. */
  readonly #waiting = new Set<Waiter>()
  #closed = false

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
  }

  get size(): number {
    return this.#all.size
  }

  /**
   * Gives a connection to `client`: at once while there is an idle one or room for another, else when one is
   * released, in order of arrival; or the error `upstream_busy` after `seconds`.
   * @param fresh never one that was used before
   * @returns how to give up waiting, or null when served at once
   */
  acquire(client: PoolClient, seconds: number, fresh = false): (() => void) | null {
    const idle = fresh ? undefined : this.#idle.pop()
    if (idle !== undefined) {
      client.onConnection(idle)
      return null
    }
    if (this.#all.size < this.endpoint.maxConnections) {
      client.onConnection(this.#open())
      return null
    }
    if (fresh && this.#idle.size > 0) {
      // At the bound with idle ones left: one of them makes room.
      this.#idle.bottom!.destroy()
      client.onConnection(this.#open())
      return null
    }
    if (this.#waiting.size >= MAX_WAITING) {
      client.onNoConnection(new GatewayError('upstream_busy'))
      return null
    }
    const waiter = new Waiter(client, fresh, deadlineIn(seconds), () => this.#waiting.delete(waiter))
    this.#waiting.add(waiter)
    watchDeadline(waiter)
    return () => this.#forget(waiter)
  }

  /**
   * A connection of its own for what lasts, outside of the bound: a thousand open sockets must not keep out requests. It
   * ends with its exchange.
   */
  openLasting(): Connection {
    return new Connection(this.endpoint, { onReleased: connection => connection.destroy(), onClosed() {} })
  }

  /** Closes idle connections now and busy ones at their end. */
  close(): void {
    this.#closed = true
    for (const connection of [...this.#idle]) connection.destroy()
  }

  onReleased(connection: Connection): void {
    const [waiter] = this.#waiting
    // Its end makes room for a new one
    if (waiter?.fresh) connection.destroy()
    else if (waiter !== undefined) {
      this.#forget(waiter)
      waiter.client.onConnection(connection)
    } else if (this.#closed || this.#idle.size >= this.endpoint.maxIdleConnections) connection.destroy()
    else this.#idle.push(connection)
  }

  onClosed(connection: Connection): void {
    this.#all.delete(connection)
    this.#idle.remove(connection)
    const [waiter] = this.#waiting
    if (waiter === undefined || this.#all.size >= this.endpoint.maxConnections) return
    this.#forget(waiter)
    waiter.client.onConnection(this.#open())
  }

  #open(): Connection {
    const connection = new Connection(this.endpoint, this)
    this.#all.add(connection)
    return connection
  }

  #forget(waiter: Waiter): void {
    this.#waiting.delete(waiter)
    unwatchDeadline(waiter)
  }
}

class Waiter implements Expiring {
  readonly client: PoolClient
  /** Takes no connection that was used before. */
  readonly fresh: boolean
  deadline: number
  readonly #leave: () => void

  constructor(client: PoolClient, fresh: boolean, deadline: number, leave: () => void) {
    this.client = client
    this.fresh = fresh
    this.deadline = deadline
    this.#leave = leave
  }

  expire(): void {
    this.#leave()
    unwatchDeadline(this)
    this.client.onNoConnection(new GatewayError('upstream_busy'))
  }
}
