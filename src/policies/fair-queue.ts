/**
 * The last step before an upstream that takes only so many requests at a time: a free slot, or a turn in the queue. The
 * slot is held until the exchange has ended, however long that lasts.
 */

import { type RefusalReason, Waiting } from '../admission/fair-queue.ts'
import type { Gate } from '../admission/gate.ts'
import { LONG_MS } from '../admission/streams.ts'
import { asGatewayError, GatewayError } from '../errors.ts'
import type { Abortable, Exchange, Handler, Policy, Reply } from '../exchange.ts'
import { callTimer, speaksGrpc } from '../grpc.ts'
import { networkOf } from '../limits/address.ts'
import { now } from '../wire/clock.ts'

export function fairQueue(gate: Gate): Policy {
  const keep = (exchange: Exchange): void => {
    exchange.onEnd(gate.keep(groupOf(exchange), exchange.weight, exchange))
  }
  return function fairQueue(exchange, next) {
    const inUse = gate.lends ? gate.enterFor(groupOf(exchange)) : gate.enter()
    if (inUse === 0) return new Turn(exchange, gate, next).begin()
    exchange.onEnd(gate.leave)
    exchange.onLasting = keep
    if (mayTakeLong(exchange, gate, inUse)) keepRequest(exchange, gate, groupOf(exchange))
    return send(exchange, gate, inUse, next)
  }
}

/** Its body is still to come, or others may come to wait for it. */
const mayTakeLong = ({ body }: Exchange, gate: Gate, inUse: number): boolean =>
  (body !== null && body.completedAt === 0) || gate.isBusy(inUse)

/** Should its answer last as well, it is one stream all the same. */
function keepRequest(exchange: Exchange, gate: Gate, group: string): void {
  const end = gate.keep(group, exchange.weight, exchange, 'request')
  const lasts = exchange.onLasting
  exchange.onEnd(end)
  exchange.onLasting = exchange => {
    end()
    lasts?.(exchange)
  }
}

/** How long the head of the answer takes tells how busy the upstream is. A WebSocket tells nothing. */
function send(exchange: Exchange, gate: Gate, inUse: number, next: Handler): Reply | Promise<Reply> {
  if (exchange.upgrade || !gate.measures(inUse)) return next(exchange)
  const sentAt = now()
  const replied = next(exchange)
  if (replied instanceof Promise) {
    const { body } = exchange
    // A client that sends slowly would make its upstream look slow, and others wait for it
    const answered = (): void => {
      if (body === null) gate.observe(now() - sentAt, inUse)
      else if (body.completedAt > 0) gate.observe(now() - Math.max(sentAt, body.completedAt), inUse)
    }
    replied.then(
      // A service that fails does so at once, or late, for reasons of its own
      ({ status }) => status < 500 && answered(),
      error => asGatewayError(error).code === 'upstream_timeout' && answered(),
    )
  }
  return replied
}

/** Who shares. Those without a company are each their own: a user, else an address, of IPv6 a network. */
function groupOf({ identity, client }: Exchange): string {
  if (identity === null) return `address ${networkOf(client.ip)}`
  return identity.companyId === null ? `user ${identity.userId}` : `company ${identity.companyId}`
}

const REASONS: Readonly<Record<RefusalReason, string>> = {
  full: 'the queue for the upstream is full',
  deadline: 'it was not its turn in time',
}

/** An exchange that waits for its slot. */
class Turn extends Waiting implements Abortable {
  readonly #exchange: Exchange
  readonly #gate: Gate
  readonly #next: Handler
  readonly #reply = Promise.withResolvers<Reply>()
  /** Of a call of gRPC, whose client has set one. */
  #deadline: NodeJS.Timeout | null = null

  constructor(exchange: Exchange, gate: Gate, next: Handler) {
    super(groupOf(exchange), exchange.weight, gate.now())
    this.#exchange = exchange
    this.#gate = gate
    this.#next = next
  }

  begin(): Promise<Reply> {
    if (this.#exchange.aborted) return Promise.reject(new GatewayError('client_gone'))
    this.#exchange.onAbort(this)
    if (speaksGrpc(this.#exchange))
      this.#deadline = callTimer(this.#exchange, () => this.#giveUp(new GatewayError('deadline_exceeded')))
    this.#gate.wait(this)
    return this.#reply.promise
  }

  onTurn(cost: number, inUse: number): void {
    const exchange = this.#exchange
    const gate = this.#gate
    const sentAt = now()
    this.#leaveQueue()
    const mayLast = mayTakeLong(exchange, gate, inUse)
    // What a stream costs, or a request that takes long, is charged while it lasts
    let lastsFrom = 0
    exchange.onEnd(() => {
      const held = (lastsFrom || now()) - sentAt
      gate.settle(this, cost, mayLast ? Math.min(held, LONG_MS) : held)
      gate.leave()
    })
    exchange.onLasting = () => {
      lastsFrom = now()
      exchange.onEnd(gate.keep(this.company, this.weight, exchange))
    }
    if (mayLast) keepRequest(exchange, gate, this.company)
    // Not within the end of the exchange that made room
    queueMicrotask(() => {
      try {
        this.#reply.resolve(send(exchange, gate, inUse, this.#next))
      } catch (error) {
        this.#reply.reject(error)
      }
    })
  }

  onRefused(reason: RefusalReason): void {
    this.#leaveQueue()
    this.#gate.countRefused()
    const headers = ['Retry-After', String(this.#gate.retryAfter(this))]
    this.#reply.reject(new GatewayError('upstream_overloaded', { headers, cause: REASONS[reason] }))
  }

  /** The client has left. */
  abort(): void {
    this.#giveUp(new GatewayError('client_gone'))
  }

  #giveUp(error: GatewayError): void {
    this.#gate.giveUp(this)
    this.#leaveQueue()
    this.#reply.reject(error)
  }

  #leaveQueue(): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline)
    this.#exchange.onAbort(null)
    this.#exchange.queuedFor = this.#gate.now() - this.since
  }
}
