/** WebSocket frames as bytes (RFC 6455 §5.2), for what no library would send. */

import { createHash } from 'node:crypto'

export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

export interface Frame {
  readonly fin: boolean
  /** The three reserved bits, as a number. */
  readonly rsv: number
  readonly opcode: number
  readonly masked: boolean
  /** Unmasked. */
  readonly payload: Buffer
}

export interface FrameOptions {
  readonly fin?: boolean
  readonly rsv?: number
  /** As clients must send and servers must not. */
  readonly masked?: boolean
  /** The length to announce, whatever the payload has. */
  readonly announce?: bigint
  /** Write the length in so many bytes: 2 or 8, even where fewer would do. */
  readonly lengthBytes?: 2 | 8
}

const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d])

export function frame(opcode: number, payload: string | Buffer = '', options: FrameOptions = {}): Buffer {
  const data = Buffer.from(payload as string)
  const length = options.announce ?? BigInt(data.length)
  const first = ((options.fin ?? true) ? 0x80 : 0) | ((options.rsv ?? 0) << 4) | opcode
  const maskBit = options.masked ? 0x80 : 0
  const head = Buffer.alloc(10)
  head[0] = first
  let size = 2
  if (length > 0xffffn || options.lengthBytes === 8) {
    head[1] = maskBit | 127
    head.writeBigUInt64BE(length, 2)
    size = 10
  } else if (length > 125n || options.lengthBytes === 2) {
    head[1] = maskBit | 126
    head.writeUInt16BE(Number(length), 2)
    size = 4
  } else {
    head[1] = maskBit | Number(length)
  }
  const start = head.subarray(0, size)
  return options.masked ? Buffer.concat([start, MASK, unmask(data, MASK)]) : Buffer.concat([start, data])
}

export function closeFrame(code: number, reason = '', options: FrameOptions = {}): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(code)
  payload.write(reason, 2)
  return frame(CLOSE, payload, options)
}

/** The close code and reason of a close frame; 1005: it says none. */
export function closeOf({ payload }: Frame): { code: number; reason: string } {
  if (payload.length < 2) return { code: 1005, reason: '' }
  return { code: payload.readUInt16BE(), reason: payload.toString('utf8', 2) }
}

/** Every whole frame of `bytes`, and what stands behind the last one. */
export function framesOf(bytes: Buffer): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = []
  let at = 0
  for (;;) {
    const rest = bytes.subarray(at)
    if (rest.length < 2) return { frames, rest }
    const short = rest[1]! & 0x7f
    const extended = short === 127 ? 8 : short === 126 ? 2 : 0
    const masked = (rest[1]! & 0x80) !== 0
    const head = 2 + extended + (masked ? 4 : 0)
    if (rest.length < head) return { frames, rest }
    const length =
      extended === 8 ? Number(rest.readBigUInt64BE(2)) : extended === 2 ? rest.readUInt16BE(2) : short
    if (rest.length < head + length) return { frames, rest }
    const data = rest.subarray(head, head + length)
    frames.push({
      fin: (rest[0]! & 0x80) !== 0,
      rsv: (rest[0]! >> 4) & 7,
      opcode: rest[0]! & 15,
      masked,
      payload: masked ? unmask(data, rest.subarray(head - 4, head)) : Buffer.from(data),
    })
    at += head + length
  }
}

function unmask(data: Buffer, mask: Buffer): Buffer {
  const result = Buffer.alloc(data.length)
  for (let index = 0; index < data.length; index++) result[index] = data[index]! ^ mask[index & 3]!
  return result
}

/** The example of RFC 6455 §1.3: a key, and what accepts it. */
export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
export const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

export type Lines = Record<string, string | readonly string[] | undefined>

/**
 * A handshake request.
 * @param over lines in place of the usual ones of that name, or beside them; undefined leaves one out, a list repeats it
 */
export function handshake(path: string, over: Lines = {}, start = `GET ${path} HTTP/1.1`): string {
  const lines: Lines = {
    Host: 'gateway.test',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
    ...over,
  }
  const text = Object.entries(lines)
    .flatMap(([name, value]) => [value ?? []].flat().map(each => `${name}: ${each}\r\n`))
    .join('')
  return `${start}\r\n${text}\r\n`
}

/** The upstream's yes to the client whose head this is. */
export function switching(requestHead: string, lines = ''): string {
  const key = /^sec-websocket-key: *(\S+)/im.exec(requestHead)?.[1] ?? ''
  const accept = createHash('sha1').update(`${key}${GUID}`).digest('base64')
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${lines}\r\n`
}
