/** The one thing that flows: an exchange down the list of policies, a reply back up. */

import type { Socket } from 'node:net'
import type { GatewayError } from './errors.ts'
import type { Bearer } from './identity/bearer.ts'
import type { Identity } from './identity/identity.ts'
import type { BlockKind } from './store/block.ts'
import type { BodySource } from './wire/body.ts'
import type { FieldLines } from './wire/fields.ts'
import type { RequestFraming } from './wire/request-head.ts'
import { RequestHeaders } from './wire/request-headers.ts'
import { UpstreamHeaders } from './wire/upstream-headers.ts'

export type Handler = (exchange: Exchange) => Reply | Promise<Reply>

/**
 * A step on the way. It may answer by itself, or hand the exchange to `next` and return its reply, changed or not.
 * A policy that has nothing to wait for returns `next(exchange)` and adds no promise.
 */
export type Policy = (exchange: Exchange, next: Handler) => Reply | Promise<Reply>

/** Chains policies in list order, which is request order, in front of `terminal`. */
export function compose(policies: readonly Policy[], terminal: Handler): Handler {
  return policies.reduceRight<Handler>((next, policy) => exchange => policy(exchange, next), terminal)
}

/** The head and the body of an answer, apart: policies touch heads, bodies stream past them. */
export interface Reply {
  status: number
  /** Header lines, flat: `[name, value, …]`. Without framing fields: the body says how long it is. */
  headers: FieldLines
  body: ReplyBody
  /** Body length in bytes where it is known before the body, else -1. Kept for HEAD and 304 as well. */
  contentLength: number
  /** Set when this reply is the gateway's own word for a failure. */
  error?: GatewayError
  /** With status 101: the upstream's end of what becomes of the connection. */
  tunnel?: UpstreamTunnel
}

/** A connection to an upstream that has been upgraded, and how the route wants it kept. */
export interface UpstreamTunnel {
  readonly socket: Socket
  /** Bytes that came right behind the head of its answer. */
  readonly rest: Buffer | null
  readonly settings: TunnelSettings
}

export interface TunnelSettings {
  /** Seconds without a byte in either direction. */
  readonly idleTimeout: number
  /** Bytes. */
  readonly maxFrameSize: number
  /** What the client hears when its right to be connected ends. */
  readonly closeCode: number
}

export type ReplyBody = null | string | Buffer | BodySource

/** An answer that is complete in memory. */
export function reply(status: number, headers: FieldLines, body: string | Buffer | null = null): Reply {
  return { status, headers, body, contentLength: body === null ? 0 : Buffer.byteLength(body) }
}

/** An answer with a JSON body. */
export function json(status: number, value: unknown, headers: FieldLines = []): Reply {
  return reply(status, ['Content-Type', 'application/json', ...headers], JSON.stringify(value))
}

/** The peer of the front door, as far as it may be believed. */
export interface Client {
  /** Address of the client: the socket's peer, or what a trusted proxy said. */
  readonly ip: string
  readonly protocol: 'http' | 'https'
  /** `X-Forwarded-*` and `Forwarded` lines for the upstream, encoded. */
  readonly forwardedLines: string
}

/** The body of a request, streaming in. */
export interface RequestBody extends BodySource {
  /** Bytes taken in so far. */
  readonly received: number
  /** `performance.now()` when the last of it arrived; 0: it has not. */
  readonly completedAt: number
  /** Sets the most bytes this body may have; beyond it the flow breaks with `body_too_large`. */
  limit(bytes: number): void
  /** All of it, when it has arrived already, in one piece, and nobody has begun to take it; else null. */
  takeWhole(): Buffer | null
  /** The client was asked for the body that it held back: its time to send begins. */
  invited(): void
  /** It is one side of a conversation, which may be silent for as long as it likes. */
  untimed(): void
  /** The rest will not come, or must not: whoever takes the body, now or later, hears why. */
  break(error: GatewayError): void
}

/** Who works for an exchange, and can be told that nobody wants its work any more. */
export interface Abortable {
  abort(): void
}

/** Who passes 1xx answers on to the client. */
export interface EarlyAnswers {
  informational(status: number, headers: FieldLines): void
}

/** What policies and logs may know of the route that was chosen. */
export interface RouteInfo {
  readonly name: string
  readonly path: string
}

export interface ExchangeStart {
  readonly id: string
  readonly startedAt: number
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly host: string
  readonly headers: RequestHeaders
  readonly client: Client
  readonly framing: RequestFraming
  readonly expectContinue: boolean
  readonly body: RequestBody | null
  /** The client's protocol (default: HTTP/1.1). */
  readonly protocol?: Protocol
  readonly upgrade?: boolean
}

export type Protocol = 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2'

/** An operator keeps this kind of client out. */
export type BlockedCode = `${BlockKind}_blocked`

/** Why the gateway ended what was meant to last: a WebSocket or an event stream. */
export type EndReason =
  | 'token_expired'
  | 'token_revoked'
  | BlockedCode
  | 'idle_timeout'
  | 'frame_too_large'
  | 'slow_client'
  | 'route_changed'
  | 'draining'

/**
 * Everything that is known of one request. Each field is written by one stage, named in its section;
 * later stages only read it.
 */
export class Exchange {
  // Written by edge/receive
  id: string
  /** `performance.now()` at the arrival of the head, in ms. */
  readonly startedAt: number
  readonly method: string
  /** Origin form, as it arrived: raw path and query. */
  target: string
  /** The raw path of `target`. */
  rawPath: string
  /** The raw query of `target` with its `?`, or ''. */
  query: string
  /** Host and port as the client gave them, in the target or the Host header; '' where it gave none. */
  authority: string
  /** Lower case, without port. */
  host: string
  headers: RequestHeaders
  client: Client
  readonly framing: RequestFraming
  readonly expectContinue: boolean
  readonly body: RequestBody | null
  readonly protocol: Protocol
  /** The client asks for a WebSocket (RFC 6455) in place of an answer. */
  readonly upgrade: boolean
  /** Takes answers that come before the answer; set by the edge before the flow begins. */
  early: EarlyAnswers | null = null

  // Written by the router
  /** The percent-decoded path that routes were matched against; never sent anywhere. */
  path = ''
  route: RouteInfo | null = null
  params: Readonly<Record<string, string>> = NO_PARAMS

  // Written by policies/stream-credentials
  /** Credentials that came from where browsers can put them; null: look into the header. */
  streamBearer: Bearer | null = null

  // Written by policies/authenticate
  identity: Identity | null = null

  // Written by policies/rate-limit and policies/client-limit
  /** Fields of its answer, whatever that will be, flat: what is left of its limits. */
  limitFields: readonly string[] = NO_FIELDS
  /** What is left of the one in front of them, as a part of it. */
  leastLeft = 1
  /** Names of the rules that refused it, or would have if they were enforced. */
  violated: readonly string[] = NO_FIELDS
  /** Milliseconds that it waited for limits whose state is elsewhere; 0: it did not have to. */
  waitedForLimits = 0

  // Written by policies/cost
  /** What it counts in rules whose unit is cost: the route's weight, until its service says better. */
  cost = 1
  /** The route's weight. */
  estimatedCost = 1

  // Written by policies/rate-limit
  /** What its company's share of an upstream is, against the others'. */
  weight = 1

  // Written by policies/fair-queue
  /** Milliseconds that it waited for its turn at the upstream; 0: it did not have to. */
  queuedFor = 0
  /** Told once, when its answer turns out to go on for long. */
  onLasting: ((exchange: Exchange) => void) | null = null

  // Written by policies, read by upstream/send
  /** `query` as it goes to the upstream: without what is meant for the gateway alone. */
  upstreamQuery: string
  upstreamHeaders = new UpstreamHeaders()

  // Written by upstream/send
  upstream = ''
  /** Times the upstream was called. */
  attempts = 0
  /** `performance.now()` when it was first asked for; 0: never. */
  upstreamBeganAt = 0
  /** `performance.now()` when the last byte of a streamed answer came from it; 0: not before the exchange ended. */
  upstreamEndedAt = 0

  // Written at the end, by edge/answer
  status = 0
  error: GatewayError | null = null
  bytesSent = 0
  outcome: Outcome | null = null
  /** `performance.now()` at the end, for all who are told of it: reading the clock is no small part of what they do. */
  endedAt = 0
  /** Set where the gateway ended a WebSocket or an event stream. */
  endReason: EndReason | null = null
  /** The first close code that was seen of a WebSocket, or that the gateway sent. */
  closeCode = 0
  /** Bytes of a WebSocket that the client sent. Those of a body are for the body to count. */
  bytesReceived = 0

  #aborted = false
  #working: Abortable | null = null
  #atEnd: Ending | null = null

  constructor(start: ExchangeStart) {
    this.id = start.id
    this.startedAt = start.startedAt
    this.method = start.method
    this.target = start.target
    const mark = start.target.indexOf('?')
    this.rawPath = mark === -1 ? start.target : start.target.slice(0, mark)
    this.query = mark === -1 ? '' : start.target.slice(mark)
    this.authority = start.authority
    this.host = start.host
    this.headers = start.headers
    this.client = start.client
    this.framing = start.framing
    this.expectContinue = start.expectContinue
    this.body = start.body
    this.protocol = start.protocol ?? 'HTTP/1.1'
    this.upgrade = start.upgrade ?? false
    this.upstreamQuery = this.query
  }

  /**
   * It goes on for long, and nobody will ask again what its request said: only what the log tells at its end is kept.
   * Its texts are parts of the whole head otherwise, a kilobyte or two for each open stream.
   */
  lasts(): void {
    const { ip, protocol } = this.client
    this.id = detached(this.id)
    this.rawPath = detached(this.rawPath)
    this.target = this.rawPath
    this.query = ''
    this.upstreamQuery = ''
    this.authority = ''
    this.host = ''
    this.path = ''
    this.params = NO_PARAMS
    this.headers = NO_HEADERS
    this.client = { ip, protocol, forwardedLines: '' }
    this.upstreamHeaders = NO_UPSTREAM_HEADERS
    this.early = null
    this.limitFields = NO_FIELDS
    this.streamBearer = null
    this.tellLasting()
  }

  /** Called by the edge when the answer has gone on for a while, and when there is a WebSocket. */
  tellLasting(): void {
    const told = this.onLasting
    this.onLasting = null
    told?.(this)
  }

  /** The client is gone: nobody will read an answer. */
  get aborted(): boolean {
    return this.#aborted
  }

  /** The one that works for this exchange right now; null: it is done. */
  onAbort(working: Abortable | null): void {
    this.#working = working
  }

  /** Begins to count the time that the upstream works for it: the first time counts. */
  upstreamBegins(time: number): void {
    if (this.upstreamBeganAt === 0) this.upstreamBeganAt = time
    this.upstreamEndedAt = 0
  }

  /** Called by the edge when the client left. */
  abort(): void {
    this.#aborted = true
    this.release()
  }

  /** Lets go of whoever still works for this exchange, such as an upstream whose answer a policy replaced. */
  release(): void {
    const working = this.#working
    this.#working = null
    working?.abort()
  }

  /**
   * Has `ended` called once, when the exchange has ended in whatever way: for what it holds as long as it lasts, such as
   * a place among those that may run at a time. The last one added is called first. Where it has ended already, at once:
   * a client may leave while something is being got for it.
   */
  onEnd(ended: (exchange: Exchange) => void): void {
    if (this.outcome === null) this.#atEnd = { ended, next: this.#atEnd }
    else ended(this)
  }

  /** Called by the edge, behind `outcome`. What one throws keeps the others from nothing. */
  tellEnd(): void {
    for (let ending = this.#atEnd; ending !== null; ending = ending.next) {
      try {
        ending.ended(this)
      } catch (fault) {
        queueMicrotask(() => {
          throw fault
        })
      }
    }
    this.#atEnd = null
  }
}

interface Ending {
  readonly ended: (exchange: Exchange) => void
  readonly next: Ending | null
}

/** Told of every exchange's end, once, in success and in failure. */
export type ExchangeObserver = (exchange: Exchange) => void

/** How an exchange ended. `broken`: the answer's head went out, its body did not arrive whole. */
export type Outcome = 'answered' | 'broken' | 'client_gone'

const NO_FIELDS: readonly string[] = Object.freeze([])

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze(
  Object.create(null) as Record<string, string>,
)

const NO_HEADERS = new RequestHeaders([])
NO_HEADERS.freeze()
const NO_UPSTREAM_HEADERS = new UpstreamHeaders()

/** The same text, ASCII, as no part of another. */
function detached(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}
