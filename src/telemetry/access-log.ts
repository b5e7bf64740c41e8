/** One line for each exchange, when it has ended. Field names are those of the first gateway, and stable. */

import { GatewayError } from '../errors.ts'
import type { Client, Exchange, ExchangeObserver, RouteInfo } from '../exchange.ts'
import type { Identity } from '../identity/identity.ts'
import { describeError, type Log, type LogLevel } from './log.ts'

/**
 * Successes are `info`, refusals and failures of clients `warning`, failures of upstreams and the gateway `error`.
 * Neither queries, nor header values, nor anything of a token but the ids is written.
 */
export function accessLog(log: Log): ExchangeObserver {
  return function accessLog(exchange) {
    const level = levelOf(exchange)
    if (log.enabled(level)) log.writeLine(accessLine(exchange, level))
    if (exchange.error?.code === 'internal') {
      const { cause } = exchange.error
      log.logger.error(
        { request_id: exchange.id, error: cause, stack: cause instanceof Error ? cause.stack : undefined },
        'Unhandled internal server error occurred in gateway',
      )
    }
  }
}

/** `error`: the gateway or an upstream failed at it. `warning`: it was refused, or the client left. */
export function levelOf(exchange: Exchange): 'info' | 'warning' | 'error' {
  const { error, status, outcome } = exchange
  if (outcome === 'broken') return 'error'
  // Not its status: of some refusals that is 503, and in gRPC of all of them 200
  if (error !== null) return error.entry.source === 'client' ? 'warning' : 'error'
  if (status >= 500) return 'error'
  return status >= 400 || outcome !== 'answered' ? 'warning' : 'info'
}

/**
 * Written by hand, of few pieces: an object made only to be turned into text costs three times as much. What stands for
 * a whole connection or token is kept as text (together worth 4 % of a small request).
 */
function accessLine(exchange: Exchange, level: LogLevel): string {
  const { error, identity, body, client, route } = exchange
  const status = exchange.status === 0 ? (error?.status ?? 0) : exchange.status
  const duration = Math.round((exchange.endedAt - exchange.startedAt) * 1000) / 1e6
  const received = body === null ? exchange.bytesReceived : body.received
  let line =
    `{"level":"${level}","timestamp":"${timestamp()}","event":"Request processed","request_id":${quoted(exchange.id)},"method":` +
    `${quoted(exchange.method)},"path":${quoted(exchange.rawPath)},"status_code":${status},"duration":${duration}` +
    `${kept(clients, client, clientPart)}${route === null ? ',"route":null' : kept(routes, route, routePart)}` +
    `${identity === null ? '' : kept(identities, identity, identityPart)}${upstreamPart(exchange)}` +
    `,"bytes_received":${received},"bytes_sent":${exchange.bytesSent},"protocol":"${exchange.protocol}","outcome":"${exchange.outcome}"`
  if (exchange.queuedFor > 0) line += `,"queue_ms":${Math.ceil(exchange.queuedFor)}`
  if (exchange.closeCode !== 0) line += `,"close_code":${exchange.closeCode}`
  if (exchange.violated.length > 0) line += `,"violated_policies":${JSON.stringify(exchange.violated)}`
  if (exchange.endReason !== null) line += `,"ended":"${exchange.endReason}"`
  if (error !== null) {
    line += `,"code":"${error.code}"`
    if (error.cause !== undefined) line += `,"reason":${JSON.stringify(describeError(error.cause))}`
  }
  return `${line}}\n`
}

const clients = new WeakMap<Client, string>()
const routes = new WeakMap<RouteInfo, string>()
const identities = new WeakMap<Identity, string>()

function kept<T extends object>(
  texts: WeakMap<T, string>,
  subject: T,
  describe: (subject: T) => string,
): string {
  let text = texts.get(subject)
  if (text === undefined) {
    text = describe(subject)
    texts.set(subject, text)
  }
  return text
}

const clientPart = ({ ip }: Client): string => `,"client_ip":${quoted(ip)}`

const routePart = ({ name }: RouteInfo): string => `,"route":${quoted(name)}`

const identityPart = ({ userId, companyId }: Identity): string =>
  `,"user_id":${quoted(userId)},"company_id":${companyId === null ? 'null' : quoted(companyId)}`

function upstreamPart({ upstream, attempts }: Exchange): string {
  if (upstream === '') return ''
  return `,"upstream":${quoted(upstream)}${attempts > 1 ? `,"attempts":${attempts}` : ''}`
}

/** Text that JSON writes as it is. */
const PLAIN = /^[ !#-[\]-~]*$/

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text)
}

/** A request that never became an exchange, in the same shape. */
export function refusedLine(refusal: {
  id: string
  peer: string
  code: GatewayError['code']
  reason: string
}): string {
  const error = new GatewayError(refusal.code)
  return `${JSON.stringify({
    level: 'warning',
    timestamp: timestamp(),
    event: 'Request refused',
    request_id: refusal.id,
    status_code: error.status,
    client_ip: refusal.peer,
    code: refusal.code,
    reason: refusal.reason,
  })}\n`
}

let stampedAt = 0
let stamp = ''

/** ISO 8601, formatted once for all lines of a millisecond. */
function timestamp(): string {
  const now = Date.now()
  if (now !== stampedAt) {
    stampedAt = now
    stamp = new Date(now).toISOString()
  }
  return stamp
}
