/** Bytes as `node:http` reads them, by llhttp and with its strictest settings: the second opinion on what a request says. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { isHost } from '../../src/edge/client-address.ts'
import { METHODS as FORWARDED } from '../../src/wire/methods.ts'

/** A request as a parser understood it. */
export interface ReadRequest {
  method: string
  target: string
  minor: number
  /** Flat: `[name, value, …]`. */
  fields: readonly string[]
  /** Latin-1; as much of it as has come. */
  body: string
  trailers: readonly string[]
  whole: boolean
}

export interface Reading {
  readonly requests: ReadRequest[]
  /** Why it stopped reading, or null. */
  readonly fault: string | null
  /** The last request ends the connection: what stands behind it is not read. */
  readonly closes: boolean
}

/**
 * In what `ours` says more than `theirs`: something was taken that llhttp refuses, or takes for something else.
 * What `ours` refuses is no matter; nor are methods and targets that the front door goes on to refuse.
 * @returns null when there is nothing of that kind
 */
export function beyond(ours: Reading, theirs: Reading): string | null {
  for (const [index, own] of ours.requests.entries()) {
    if (!METHODS.has(own.method) || !isTaken(own.target)) return null
    const other = theirs.requests[index]
    if (other === undefined) return theirs.closes ? null : `request ${index} is refused: ${theirs.fault}`
    if (!own.whole) {
      const { method, target, minor, fields } = own
      assert.deepEqual({ ...other, method, target, minor, fields }, other, `the head of request ${index}`)
      if (ours.fault === null && theirs.fault === null) assert.deepEqual(own, other, `request ${index}`)
      return null
    }
    if (!other.whole) return `request ${index} is not whole: ${theirs.fault}`
    assert.deepEqual(own, other, `request ${index}`)
  }
  return null
}

const METHODS: ReadonlySet<string> = new Set(FORWARDED)

function isTaken(target: string): boolean {
  const authority = /^https?:\/\/([^/?#]*)(?:[/?]|$)/i.exec(target)?.[1]
  return target.startsWith('/') || (authority !== undefined && isHost(authority))
}

export interface Llhttp {
  /** Reads one connection's bytes, in those pieces. */
  read(pieces: readonly Buffer[]): Promise<Reading>
  close(): void
}

interface Taken {
  readonly message: http.IncomingMessage
  readonly persistent: boolean
  body: string
}

export function llhttp(): Llhttp {
  let taken: Taken[] = []
  let fault: string | null = null
  const server = http.createServer({
    insecureHTTPParser: false,
    requireHostHeader: false,
    // Whoever asks for another protocol is answered in this one
    shouldUpgradeCallback: () => false,
    maxHeaderSize: 1_048_576,
    headersTimeout: 0,
    requestTimeout: 0,
    keepAliveTimeout: 0,
    connectionsCheckingInterval: 2 ** 30,
  })
  // node:http would quietly keep 2,000 of them
  server.maxHeadersCount = 0
  const take = (message: http.IncomingMessage, response: http.ServerResponse): void => {
    const one: Taken = { message, persistent: response.shouldKeepAlive, body: '' }
    taken.push(one)
    message.on('data', (chunk: Buffer) => {
      one.body += chunk.toString('latin1')
    })
  }
  server.on('request', take)
  server.on('checkContinue', take)
  server.on('checkExpectation', take)
  server.on('clientError', (error: NodeJS.ErrnoException) => {
    fault ??= error.code ?? error.message
  })

  return {
    async read(pieces) {
      taken = []
      fault = null
      const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
      server.emit('connection', socket)
      await turn()
      // Straight to the parser, which has read them when this returns
      for (const piece of pieces) if (fault === null && !socket.destroyed) socket.emit('data', piece)
      await turn()
      for (const { message } of taken)
        if (message.complete && !message.readableEnded && !message.destroyed) await once(message, 'end')
      const reading = {
        requests: taken.map(asRead),
        fault,
        closes: taken.at(-1)?.persistent === false || fault === 'HPE_CLOSED_CONNECTION',
      }
      socket.destroy()
      return reading
    },
    close() {
      server.close()
    },
  }
}

function asRead({ message, body }: Taken): ReadRequest {
  return {
    method: message.method ?? '',
    target: message.url ?? '',
    minor: message.httpVersionMinor,
    fields: message.rawHeaders,
    body,
    trailers: message.rawTrailers,
    whole: message.complete,
  }
}
