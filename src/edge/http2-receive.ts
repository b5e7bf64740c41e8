/** HTTP/2 stream → Exchange: held against the same rules as a request of HTTP/1.1 (edge/receive.ts). */

import type { ServerHttp2Stream } from 'node:http2'
import type { ErrorCode } from '../errors.ts'
import { Exchange } from '../exchange.ts'
import { now } from '../wire/clock.ts'
import type { AnswerContext } from './answer.ts'
import { clientOf, type TrustedProxies } from './client-address.ts'
import { Http2Answer } from './http2-answer.ts'
import type { Http2Connection, Http2Host } from './http2-connection.ts'
import type { Http2Message } from './http2-request.ts'
import {
  contextOf,
  factsOf,
  faultOf,
  MAX_TARGET_LENGTH,
  type Receiver,
  refusalOf,
  requestId,
  respond,
} from './receive.ts'
import type { IncomingBody } from './request-body.ts'

/** @returns what takes in one stream and sees it to its answer. It never throws. */
export function createHttp2Receive(receiver: Receiver, trusted: TrustedProxies): Http2Host['receive'] {
  const context: AnswerContext = contextOf(receiver, 0)

  return function receiveStream(
    connection: Http2Connection,
    stream: ServerHttp2Stream,
    message: Http2Message,
    body: IncomingBody | null,
  ): Http2Answer {
    const { method, headers } = message
    const facts = headers.derived.get(factsOf, factsOf)
    const fault = messageFault(message) ?? faultOf({ method, minor: 1, headers }, facts) ?? pathFault(message)
    const expectContinue = facts.expectation === 'continue' && body !== null
    if (expectContinue) body.holdBack()
    const exchange = new Exchange({
      id: requestId(headers),
      startedAt: now(),
      method,
      target: fault === null ? message.path : '/',
      authority: facts.authority,
      host: facts.host,
      headers,
      client: clientOf(connection, facts.authority, headers, trusted),
      framing: fault === null ? message.framing : 'none',
      expectContinue,
      body: fault === null ? body : null,
      protocol: 'HTTP/2',
    })
    const answer = new Http2Answer(exchange, stream, connection, body, context)
    if (fault === null) respond(receiver.handle, answer)
    else respond(() => receiver.refuse(exchange, refusalOf(fault)), answer)
    return answer
  }
}

function messageFault({ unsafe, tooLarge, twoHosts }: Http2Message): ErrorCode | null {
  if (unsafe) return 'malformed_request'
  if (tooLarge) return 'headers_too_large'
  return twoHosts ? 'invalid_host' : null
}

function pathFault({ path, knownScheme }: Http2Message): ErrorCode | null {
  if (path.length > MAX_TARGET_LENGTH) return 'target_too_long'
  return path.charCodeAt(0) === 0x2f && knownScheme ? null : 'invalid_target'
}
