/** One line for each exchange, when it has ended. Field names are those of the first gateway, and stable. */

import { GatewayError } from '../errors.ts'
import type { Exchange, ExchangeObserver } from '../exchange.ts'
import { describeError, type Log, type LogLevel } from './log.ts'

/**
 * Successes are `info`, refusals and failures of clients `warning`, failures of upstreams and the gateway `error`.
 * Neither queries, nor header values, nor anything of a token but the ids is written.
 */
export function accessLog(log: Log): ExchangeObserver {
  const wanted = { info: log.enabled('info'), warning: log.enabled('warning'), error: log.enabled('error') }

  return function accessLog(exchange) {
    const level = levelOf(exchange)
    if (wanted[level]) log.writeLine(accessLine(exchange, level))
    if (exchange.error?.code === 'internal') {
      const { cause } = exchange.error
      log.logger.error(
        { request_id: exchange.id, error: cause, stack: cause instanceof Error ? cause.stack : undefined },
        'Unhandled internal server error occurred in gateway',
      )
    }
  }
}

function levelOf(exchange: Exchange): 'info' | 'warning' | 'error' {
  const { error, status, outcome } = exchange
  if (error !== null && error.entry.source !== 'client') return 'error'
  if (status >= 500 || outcome === 'broken') return 'error'
  return status >= 400 || outcome !== 'answered' ? 'warning' : 'info'
}

/** Written by hand: an object made only to be turned into text costs three times as much (2 % of a small request). */
function accessLine(exchange: Exchange, level: LogLevel): string {
  const { error, identity, body, route } = exchange
  const status = exchange.status === 0 ? (error?.status ?? 0) : exchange.status
  const duration = Math.round((performance.now() - exchange.startedAt) * 1000) / 1e6
  let line =
    `{"level":"${level}","timestamp":"${timestamp()}","event":"Request processed","request_id":${quoted(exchange.id)}` +
    `,"method":${quoted(exchange.method)},"path":${quoted(exchange.rawPath)},"status_code":${status}` +
    `,"duration":${duration},"client_ip":${quoted(exchange.client.ip)},"route":${route === null ? 'null' : quoted(route.name)}`
  if (identity !== null) {
    line += `,"user_id":${quoted(identity.userId)}`
    line += `,"company_id":${identity.companyId === null ? 'null' : quoted(identity.companyId)}`
  }
  if (exchange.upstream !== '') line += `,"upstream":${quoted(exchange.upstream)}`
  if (exchange.attempts > 1) line += `,"attempts":${exchange.attempts}`
  line += `,"bytes_received":${body === null ? 0 : body.received},"bytes_sent":${exchange.bytesSent},"outcome":"${exchange.outcome}"`
  if (error !== null) {
    line += `,"code":"${error.code}"`
    if (error.cause !== undefined) line += `,"reason":${JSON.stringify(describeError(error.cause))}`
  }
  return `${line}}\n`
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
