/**
 * Browsers cannot set headers on a WebSocket or an EventSource. For those alone there are two other places for credentials:
 * `?ticket=`, a single-use ticket that was issued for a token, and the subprotocol `bearer.<token>`. Neither gets to the
 * upstream. `access_token` (RFC 6750 §2.3) is no credential here and stays behind all the same.
 */

import { GatewayError } from '../errors.ts'
import type { Exchange, Handler, Policy, Reply } from '../exchange.ts'
import { readBearer } from '../identity/bearer.ts'
import { problemReply } from '../problem.ts'
import type { AskedTickets } from '../store/tickets.ts'
import { takeParameters } from '../wire/query.ts'
import type { RequestHeaders } from '../wire/request-headers.ts'
import { bearerOf } from './authenticate.ts'

export interface StreamCredentialsOptions {
  /** null: the route takes no tickets. */
  readonly tickets: AskedTickets | null
  readonly subprotocol: boolean
}

const PROTOCOL = 'Sec-WebSocket-Protocol'
const ACCESS_TOKEN: ReadonlySet<string> = new Set(['access_token'])
const ACCESS_TOKEN_AND_TICKET: ReadonlySet<string> = new Set(['access_token', 'ticket'])
const NO_ENTRIES: readonly string[] = []

/** Stands in front of `authenticate`, which has the token verified wherever it came from. */
export function streamCredentials({ tickets, subprotocol }: StreamCredentialsOptions): Policy {
  const hidden = tickets === null ? ACCESS_TOKEN : ACCESS_TOKEN_AND_TICKET

  return function streamCredentials(exchange, next) {
    if (!exchange.upgrade && (tickets === null || exchange.query === '' || !opensEventStream(exchange)))
      return next(exchange)
    const given = takeTickets(exchange)
    const offered = subprotocol && exchange.upgrade ? subprotocolsOf(exchange.headers) : null
    const tokens = offered?.filter(isBearerEntry) ?? NO_ENTRIES
    if (tokens.length > 0) withhold(exchange, offered!)

    const inHeader = exchange.headers.derived.get(bearerOf, bearerOf).kind === 'none' ? 0 : 1
    if (inHeader + given.length + tokens.length > 1)
      return refuse(exchange, 'repeated_authorization', 'More than one token or ticket.')
    if (given.length === 1) {
      const payload = tickets!.redeem(given[0]!, Date.now())
      return payload instanceof Promise
        ? payload.then(late => admit(late, exchange, next))
        : admit(payload, exchange, next)
    }
    if (tokens.length === 0) return next(exchange)
    const [entry] = tokens as [string]
    exchange.streamBearer = readBearer(`Bearer ${entry.slice(ENTRY.length)}`)
    return offered!.length === 1 ? confirmed(exchange, next, entry) : next(exchange)
  }

  /** The values of the tickets that came; what stands for a credential is gone from the query for the upstream. */
  function takeTickets(exchange: Exchange): string[] {
    const { rest, taken } = takeParameters(exchange.upstreamQuery, hidden)
    exchange.upstreamQuery = rest
    return taken.filter((_, index) => index % 2 === 1 && taken[index - 1] === 'ticket')
  }
}

/** Goes on with the token behind a ticket, if the ticket was good. */
function admit(payload: string | null, exchange: Exchange, next: Handler): Reply | Promise<Reply> {
  const token = payload === null ? null : tokenFor(payload, exchange.headers)
  if (token === null) return refuse(exchange, 'ticket_invalid')
  exchange.streamBearer = { kind: 'token', token }
  return next(exchange)
}

/** The token that a ticket stands for, unless the ticket is another origin's. */
function tokenFor(payload: string, headers: RequestHeaders): string | null {
  const { origin, token } = readPayload(payload)
  // A page that got hold of another one's ticket cannot hide where it is from. Who is no browser has no origin, and
  // EventSource sends none to the page's own.
  const from = headers.get('origin') ?? ''
  return origin === '' || from === '' || origin === from ? token : null
}

/** What a ticket stands for. An origin has no space in it, as far as browsers go; a token has none at all. */
export function ticketPayload(origin: string, token: string): string {
  return `${origin} ${token}`
}

function readPayload(payload: string): { origin: string; token: string } {
  const end = payload.lastIndexOf(' ')
  return { origin: payload.slice(0, end), token: payload.slice(end + 1) }
}

function opensEventStream({ method, headers }: Exchange): boolean {
  return method === 'GET' && headers.derived.get(acceptsEventStream, acceptsEventStream)
}

/** Says so: `*` + `/*` is what everything else accepts. */
function acceptsEventStream(headers: RequestHeaders): boolean {
  return headers
    .getAll('accept')
    .flatMap(value => value.split(','))
    .some(range => range.split(';', 1)[0]!.trim().toLowerCase() === 'text/event-stream')
}

const ENTRY = 'bearer.'

function isBearerEntry(entry: string): boolean {
  return entry.slice(0, ENTRY.length).toLowerCase() === ENTRY
}

function subprotocolsOf(headers: RequestHeaders): string[] {
  return headers
    .getAll('sec-websocket-protocol')
    .flatMap(value => value.split(','))
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
}

/** The upstream is offered what is left. */
function withhold(exchange: Exchange, offered: readonly string[]): void {
  const rest = offered.filter(entry => !isBearerEntry(entry))
  if (rest.length === 0) exchange.upstreamHeaders.remove(PROTOCOL)
  else exchange.upstreamHeaders.set(PROTOCOL, rest.join(', '))
}

/**
 * A client that offers subprotocols and is told of none must fail the connection, and browsers do. The upstream
 * was offered none, so it is the gateway that has to choose: the one that it has made use of.
 */
function confirmed(exchange: Exchange, next: Handler, entry: string): Reply | Promise<Reply> {
  const result = next(exchange)
  return result instanceof Promise ? result.then(reply => confirm(reply, entry)) : confirm(result, entry)
}

function confirm(reply: Reply, entry: string): Reply {
  if (reply.status === 101 && !reply.headers.some((name, i) => i % 2 === 0 && name.toLowerCase() === LOWER))
    reply.headers.push(PROTOCOL, entry)
  return reply
}

const LOWER = PROTOCOL.toLowerCase()

function refuse(
  exchange: Exchange,
  code: 'ticket_invalid' | 'repeated_authorization',
  detail?: string,
): Reply {
  const headers = code === 'ticket_invalid' ? ['WWW-Authenticate', 'Bearer error="invalid_token"'] : []
  return problemReply(
    exchange,
    new GatewayError(code, detail === undefined ? { headers } : { headers, detail }),
  )
}
