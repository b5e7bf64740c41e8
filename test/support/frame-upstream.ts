/** An upstream that speaks HTTP/2 in frames written by hand: for what no server would say, and to see what was said. */

import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  type Frame,
  frame,
  PREFACE,
  section,
  settings,
} from './http2-frames.ts'
import { until } from './until.ts'

export interface FrameRequest {
  readonly stream: number
  readonly socket: Socket
  /** Frames on this stream so far. */
  frames(): Frame[]
  write(...frames: readonly Buffer[]): void
  /** A head with these fields, which ends the stream or does not. */
  head(fields: readonly (readonly [string, string])[], ends?: boolean): Buffer
  data(text: string, ends?: boolean): Buffer
  /** The first frame, past or future, that fits. */
  next(fits: (frame: Frame) => boolean): Promise<Frame>
}

export interface FrameUpstream {
  readonly url: string
  readonly requests: FrameRequest[]
  /** Resolves with the next request. */
  next(): Promise<FrameRequest>
  close(): Promise<void>
}

const ACK = 0x1

export async function frameUpstream(service: (request: FrameRequest) => void): Promise<FrameUpstream> {
  const requests: FrameRequest[] = []
  const waiting: ((request: FrameRequest) => void)[] = []
  const sockets = new Set<Socket>()
  const server = net.createServer(socket => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.write(settings())
    const frames: Frame[] = []
    let pending: Buffer = Buffer.alloc(0)
    let skip = PREFACE.length
    socket.on('data', bytes => {
      pending = Buffer.concat([pending, bytes as Buffer])
      if (pending.length < skip) return
      pending = pending.subarray(skip)
      skip = 0
      while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
        const length = pending.readUIntBE(0, 3)
        const [type, flags] = [pending[3]!, pending[4]!]
        const stream = pending.readUInt32BE(5) & 0x7fffffff
        frames.push({ type, flags, stream, payload: Buffer.from(pending.subarray(9, 9 + length)) })
        pending = pending.subarray(9 + length)
        if (type === FRAME.settings && (flags & ACK) === 0) socket.write(frame(FRAME.settings, ACK, 0))
        if (type === FRAME.headers) receive(requestOf(stream, socket, frames))
      }
    })
  })
  const receive = (request: FrameRequest): void => {
    requests.push(request)
    waiting.shift()?.(request)
    service(request)
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    next: () => new Promise(resolve => waiting.push(resolve)),
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function requestOf(stream: number, socket: Socket, frames: readonly Frame[]): FrameRequest {
  const own = (): Frame[] => frames.filter(each => each.stream === stream)
  return {
    stream,
    socket,
    frames: own,
    write: (...more) => void socket.write(Buffer.concat(more)),
    head: (fields, ends = false) =>
      frame(FRAME.headers, END_HEADERS | (ends ? END_STREAM : 0), stream, section(fields)),
    data: (text, ends = false) => frame(FRAME.data, ends ? END_STREAM : 0, stream, Buffer.from(text)),
    next: fits => until('a fitting frame', () => own().find(fits), 5_000),
  }
}
