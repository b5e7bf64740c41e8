/**
 * One request on an HTTP/2 connection and its answer: both bodies at the same time, each with backpressure, and the
 * deadlines of whoever is waited for.
 */

import { type ClientHttp2Stream, constants } from 'node:http2'
import { GatewayError } from '../errors.ts'
import type { RequestBody } from '../exchange.ts'
import type { BodySink } from '../wire/body.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { type FieldLines, findField, passableTrailers } from '../wire/fields.ts'
import { http2FieldObject } from '../wire/http2-fields.ts'
import type { Timeouts } from './endpoint.ts'
import type { Http2Session } from './http2-session.ts'

/** Seconds in which a stream that was given up has to close. */
const CLOSING_SECONDS = 2

/** What an attempt hears of its call. Exactly one of `onEnd` and `onFailure` comes last, unless it was cancelled. */
export interface CallListener {
  readonly timeouts: Timeouts
  onInformational(status: number, fields: readonly string[]): void
  /** @param ended nothing follows: neither a body nor trailers */
  onHead(status: number, fields: readonly string[], ended: boolean): void
  onData(chunk: Buffer): void
  onEnd(trailers: FieldLines): void
  /** @param refused the upstream has not looked at the request (RFC 9113 §8.7) */
  onFailure(error: GatewayError, refused: boolean): void
}

export interface CallBody {
  /** All of it, when it is here already. */
  readonly whole: Buffer | null
  readonly source: RequestBody | null
  /** The upstream has to say `100 Continue` first. */
  readonly onInvitation: boolean
  readonly mayHaveTrailers: boolean
  /** Canonical names of trailers that clients may not send. */
  readonly refusedTrailers: ReadonlySet<string>
  /** Told, when the call has been cancelled, why the body broke off. */
  onBroken(error: Error): void
}

/** As in connection.ts: whose turn it is. */
type RequestPhase = 'uninvited' | 'sending' | 'blocked' | 'stopped' | 'sent'
type AnswerPhase = 'awaited' | 'receiving' | 'whole' | 'failed'

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants
/** Chunks lie in a buffer of this size: a small one would keep all of it in memory for as long as it waits. */
const SHARED_BYTES = 16_384

export class Http2Call implements Expiring, BodySink {
  deadline = 0
  readonly #session: Http2Session
  readonly #listener: CallListener
  readonly #stream: ClientHttp2Stream
  readonly #body: CallBody
  readonly #aborter: AbortController | null
  #request: RequestPhase
  #answer: AnswerPhase = 'awaited'
  #heard = false
  #paused = false
  /** Bytes that waited when some were written last. */
  #unsent = 0
  /** The upstream has ended its side in the regular way. */
  #ended = false
  /** Bytes of body still to come, where the answer said how many. */
  #missing = Number.POSITIVE_INFINITY
  #trailers: FieldLines = []
  #ownTrailers: FieldLines = []

  constructor(session: Http2Session, fields: FieldLines, body: CallBody, listener: CallListener) {
    const { whole, source } = body
    this.#session = session
    this.#listener = listener
    this.#body = body
    this.#request = source === null ? 'sent' : body.onInvitation ? 'uninvited' : 'sending'
    this.#aborter = source === null ? null : new AbortController()
    this.#stream = session.request(fields, {
      endStream: source === null && whole === null,
      ...(this.#aborter === null
        ? {}
        : { waitForTrailers: body.mayHaveTrailers, signal: this.#aborter.signal }),
    })
    this.#listen()
    watchDeadline(this)
    this.#arm()
    if (whole === null) return
    this.#unsent = whole.length
    this.#stream.end(whole)
  }

  /** Lets the body flow. Apart from the constructor, since it may break at once. */
  start(): void {
    this.#body.source?.pipe(this)
  }

  /** Anything of an answer has arrived. */
  get heard(): boolean {
    return this.#heard
  }

  /** All of the request has been handed over. */
  get sent(): boolean {
    return this.#request === 'sent'
  }

  // The answer's body

  /** Lets the body of the answer flow to the listener. */
  flow(): void {
    this.#stream.on('data', (chunk: Buffer) => this.#onData(chunk))
  }

  pause(): void {
    this.#paused = true
    this.#arm()
    this.#stream.pause()
  }

  resume(): void {
    this.#paused = false
    this.#arm()
    this.#stream.resume()
  }

  /** Nobody wants any more of it. The listener hears nothing more. */
  cancel(): void {
    const sent = this.#request === 'sent'
    if (this.#answer === 'failed' || (this.#answer === 'whole' && sent)) return
    this.#answer = 'failed'
    this.#stopUpload()
    // A connection in disorder may never close its streams: it is ended then, and they with it.
    this.deadline = deadlineIn(CLOSING_SECONDS)
    // A stream that is closed in the midst of a body has its end sent first, as if it were whole. Aborted, it has not.
    if (!sent && this.#aborter !== null) this.#aborter.abort()
    else if (!this.#stream.closed) this.#stream.close(NGHTTP2_CANCEL)
    // What still lies in it is nobody's, and a stream closes behind its last byte only.
    this.#stream.resume()
  }

  /** Deadline of `deadlines.ts`. */
  expire(): void {
    if (this.#answer === 'failed') return this.#session.destroy()
    this.#fail(new GatewayError('upstream_timeout'), false)
  }

  // BodySink, for the body of the request

  write(chunk: Buffer): boolean {
    if (this.#request === 'stopped' || this.#stream.closed) return true
    const flowing = this.#stream.write(chunk)
    this.#unsent = this.#stream.writableLength
    this.#request = flowing ? 'sending' : 'blocked'
    this.#arm()
    return flowing
  }

  end(trailers: FieldLines): void {
    if (this.#request === 'stopped') return
    this.#request = 'sent'
    this.#ownTrailers = passableTrailers(trailers, this.#body.refusedTrailers)
    if (!this.#stream.closed) this.#stream.end()
    this.#arm()
  }

  fail(error: Error): void {
    if (this.#request === 'stopped') return
    this.#request = 'stopped'
    this.cancel()
    this.#body.onBroken(error)
  }

  #listen(): void {
    const stream = this.#stream
    // Node ends the readable side of a stream that is reset, too, and lets it look whole where the reset says no error.
    // Before that it marks the stream as closed.
    const { push } = stream
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed) this.#ended = true
      return push.call(stream, chunk, encoding)
    }
    stream.on('headers', (_, __, fields) => this.#onInformational(fields))
    stream.once('response', (_, flags, fields) =>
      this.#onHead(fields, (flags & NGHTTP2_FLAG_END_STREAM) !== 0),
    )
    stream.once('trailers', (_, __, fields) => {
      this.#trailers = fields
    })
    stream.once('wantTrailers', () => {
      if (!stream.closed && !stream.destroyed) stream.sendTrailers(http2FieldObject(this.#ownTrailers))
    })
    stream.on('drain', () => this.#onDrain())
    stream.once('end', () => this.#onEnd())
    stream.on('error', error => this.#onBreak(error))
    stream.once('close', () => {
      this.#onBreak(null)
      this.#leave()
      this.#session.released(stream.writableFinished ? 0 : this.#unsent)
    })
  }

  #onInformational(fields: readonly string[]): void {
    this.#heard = true
    const status = Number(fields[1])
    if (status === 100 && this.#request === 'uninvited') this.#request = 'sending'
    this.#arm()
    if (this.#answer === 'awaited') this.#listener.onInformational(status, fields.slice(2))
  }

  #onHead(fields: readonly string[], ended: boolean): void {
    if (this.#answer !== 'awaited') return
    this.#heard = true
    this.#answer = 'receiving'
    this.#arm()
    const length = findField(fields, 'content-length')
    if (length !== undefined) this.#missing = Number(length)
    this.#listener.onHead(Number(fields[1]), fields.slice(2), ended)
    // Its end is an event as well, which comes to those who read.
    if (ended) this.#stream.resume()
  }

  #onData(chunk: Buffer): void {
    if (this.#answer !== 'receiving') return
    this.#arm()
    this.#missing -= chunk.length
    this.#listener.onData(chunk.length < SHARED_BYTES ? Buffer.from(chunk) : chunk)
  }

  #onEnd(): void {
    if (this.#answer !== 'receiving' || !this.#ended) return
    this.#answer = 'whole'
    this.#arm()
    this.#listener.onEnd(this.#trailers)
  }

  #onDrain(): void {
    this.#unsent = 0
    if (this.#request !== 'blocked') return
    this.#request = 'sending'
    this.#arm()
    this.#body.source?.resume()
  }

  #onBreak(error: Error | null): void {
    const { rstCode, readableLength } = this.#stream
    // A reset behind the end of an answer that has been read takes nothing of it back. Nor does one without an error in
    // the place of its end, with which servers on Node close streams now and then, when all that was announced is here.
    if (rstCode === NGHTTP2_NO_ERROR && this.#missing === 0) this.#ended = true
    if (this.#ended && readableLength === 0) this.#onEnd()
    if (this.#answer === 'whole') return this.#leave()
    const cause =
      this.#session.failure ?? error ?? new Error(`the upstream reset the stream, code ${rstCode}`)
    const refused = rstCode === NGHTTP2_REFUSED_STREAM
    this.#fail(new GatewayError('upstream_reset', { cause }), refused)
  }

  #fail(error: GatewayError, refused: boolean): void {
    if (this.#answer === 'failed') return
    this.cancel()
    this.#listener.onFailure(error, refused)
  }

  /** The upstream needs no more of the request. */
  #stopUpload(): void {
    if (this.#request === 'sent' || this.#request === 'stopped') return
    this.#request = 'stopped'
    this.#body.source?.cancel()
  }

  #leave(): void {
    this.deadline = 0
    unwatchDeadline(this)
  }

  /** The one place that says who is waited for, and how long. 0: for the client, whose time the edge keeps. */
  #arm(): void {
    if (this.#answer === 'failed') return
    const { timeouts } = this.#listener
    if (this.#request === 'blocked') this.deadline = deadlineIn(timeouts.idle)
    else if (this.#request === 'sending' || this.#paused || this.#answer === 'whole') this.deadline = 0
    else this.deadline = deadlineIn(this.#answer === 'receiving' ? timeouts.idle : timeouts.firstByte)
  }
}
