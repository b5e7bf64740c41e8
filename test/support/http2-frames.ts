/** Frames of HTTP/2 written by hand, for what no client would send, and the frames that come back. */

import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import tls from 'node:tls'

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const END_STREAM = 0x1
export const END_HEADERS = 0x4
const ACK = 0x1

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A header section without compression: each field literal, and never indexed (RFC 7541 §6.2.3). */
export function section(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) => Buffer.concat([Buffer.of(0x10), text(name), text(value)])),
  )
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  return Buffer.concat([integer(bytes.length), bytes])
}

/** An integer with a prefix of 7 bits (RFC 7541 §5.1). */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.of(value)
  const bytes = [127]
  let rest = value - 127
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return Buffer.of(...bytes, rest)
}

export function get(path: string, more: readonly (readonly [string, string])[] = []): Buffer {
  return section([
    [':method', 'GET'],
    [':scheme', 'http'],
    [':authority', 'gateway.test'],
    [':path', path],
    ...more,
  ])
}

/** A whole GET in one frame. */
export function getFrame(
  stream: number,
  path: string,
  more?: readonly (readonly [string, string])[],
): Buffer {
  return frame(FRAME.headers, END_STREAM | END_HEADERS, stream, get(path, more))
}

/** `[identifier, value]` of each setting. */
export function settings(values: readonly (readonly [number, number])[] = []): Buffer {
  const payload = Buffer.alloc(6 * values.length)
  for (const [i, [identifier, value]] of values.entries()) {
    payload.writeUInt16BE(identifier, 6 * i)
    payload.writeUInt32BE(value, 6 * i + 2)
  }
  return frame(FRAME.settings, 0, 0, payload)
}

export function resetFrame(stream: number, code: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(code)
  return frame(FRAME.reset, 0, stream, payload)
}

export interface FrameConnection {
  readonly socket: Socket
  /** Those of the server so far. */
  readonly frames: readonly Frame[]
  write(...frames: readonly Buffer[]): void
  /** The first frame, past or future, that fits; rejects when the connection ends first. */
  next(fits: (frame: Frame) => boolean): Promise<Frame>
  /** Resolves when the server has ended the connection, with the code of its last GOAWAY or null. */
  ended(wait?: number): Promise<number | null>
}

/** Opens a connection, says the preface and empty settings, and acknowledges those of the server. */
export async function openFrames(url: string, first: Buffer = settings()): Promise<FrameConnection> {
  const { hostname: host, port, protocol } = new URL(url)
  const at = { host, port: Number(port) }
  const secure = protocol === 'https:'
  const socket = secure
    ? tls.connect({ ...at, ALPNProtocols: ['h2'], rejectUnauthorized: false })
    : net.connect(at)
  socket.setNoDelay(true)
  await once(socket, secure ? 'secureConnect' : 'connect')
  const frames: Frame[] = []
  const watchers = new Set<() => void>()
  let pending: Buffer = Buffer.alloc(0)
  let over = false
  const notify = (): void => {
    for (const watcher of [...watchers]) watcher()
  }
  socket.on('data', (bytes: Buffer) => {
    pending = Buffer.concat([pending, bytes])
    while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
      const length = pending.readUIntBE(0, 3)
      const [type, flags] = [pending[3]!, pending[4]!]
      const stream = pending.readUInt32BE(5) & 0x7fffffff
      frames.push({ type, flags, stream, payload: Buffer.from(pending.subarray(9, 9 + length)) })
      pending = pending.subarray(9 + length)
      if (type === FRAME.settings && (flags & ACK) === 0 && socket.writable)
        socket.write(frame(FRAME.settings, ACK, 0))
    }
    notify()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    over = true
    notify()
  })
  socket.write(Buffer.concat([PREFACE, first]))
  const until = <T>(look: () => T | undefined, what: string, wait: number): Promise<T> =>
    new Promise((resolve, reject) => {
      const watcher = (): void => {
        const found = look()
        if (found === undefined && !over) return
        watchers.delete(watcher)
        clearTimeout(timer)
        if (found === undefined) reject(new Error(`the connection ended before ${what}`))
        else resolve(found)
      }
      const timer = setTimeout(() => {
        watchers.delete(watcher)
        reject(new Error(`${what}: not within ${wait} ms`))
      }, wait)
      watchers.add(watcher)
      watcher()
    })
  return {
    socket,
    frames,
    write: (...more) => void (socket.writable && socket.write(Buffer.concat(more))),
    next: fits => until(() => frames.find(fits), 'a fitting frame', 8_000),
    ended: (wait = 8_000) =>
      until(() => (over ? { code: goawayCode(frames) } : undefined), 'its end', wait).then(
        ({ code }) => code,
      ),
  }
}

function goawayCode(frames: readonly Frame[]): number | null {
  const last = frames.findLast(({ type }) => type === FRAME.goaway)
  return last === undefined ? null : last.payload.readUInt32BE(4)
}
