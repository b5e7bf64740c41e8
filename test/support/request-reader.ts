/** A request parser with all that it says written down, and every promise of its kept in sight. */

import assert from 'node:assert/strict'
import { type Malformation, MalformedMessage } from '../../src/wire/malformed.ts'
import type { RequestHeaders } from '../../src/wire/request-headers.ts'
import { RequestParser } from '../../src/wire/request-parser.ts'
import type { Reading, ReadRequest } from './llhttp.ts'

/** Every read lands here, over what is left of the ones before, as from a socket. */
const shared = Buffer.alloc(262_144, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')

export interface Reader extends Reading {
  readonly parser: RequestParser
  /** The header section of each request. */
  readonly headers: RequestHeaders[]
  readonly kind: Malformation | null
  /** One read of a socket. Bytes behind a fault are not read. */
  read(bytes: Buffer): void
}

export function reader(): Reader {
  const requests: ReadRequest[] = []
  const headers: RequestHeaders[] = []
  let fault: MalformedMessage | null = null
  let calls = { heads: 0, ends: 0 }
  const parser = new RequestParser({
    onHead(message) {
      calls.heads++
      headers.push(message.headers)
      const { method, target, minor } = message
      const fields = [...message.headers.lines]
      requests.push({ method, target, minor, fields, body: '', trailers: [], whole: false })
    },
    onData(bytes, start, end) {
      assert.ok(start < end, 'data that is none')
      requests.at(-1)!.body += bytes.toString('latin1', start, end)
    },
    onEnd(trailers) {
      calls.ends++
      Object.assign(requests.at(-1)!, { trailers, whole: true })
    },
  })
  function read(bytes: Buffer): void {
    bytes.copy(shared)
    for (let at = 0; at < bytes.length && fault === null; ) {
      calls = { heads: 0, ends: 0 }
      let next: number
      try {
        next = parser.execute(shared, at, bytes.length)
      } catch (error) {
        if (!(error instanceof MalformedMessage)) throw error
        fault = error
        return
      }
      assert.ok(next > at && next <= bytes.length, 'nothing, or more than there is, was read')
      assert.ok(calls.heads <= 1 && calls.ends <= 1, 'read past the end of a request')
      assert.ok(next === bytes.length || calls.ends === 1 || parser.idle, 'stopped within a request')
      assert.equal(parser.inBody, requests.at(-1)?.whole === false)
      at = next
    }
  }
  return {
    requests,
    headers,
    parser,
    closes: false,
    read,
    get fault() {
      return fault?.message ?? null
    },
    get kind() {
      return fault?.kind ?? null
    },
  }
}

export function readAll(parts: readonly Buffer[]): Reader {
  const one = reader()
  for (const part of parts) one.read(part)
  return one
}
