/** Both ends of a WebSocket as bare connections: what was sent, byte for byte, and how it ended. */

import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'
import { type Frame, framesOf, handshake, type Lines, switching } from './websocket-frames.ts'

export interface RawEnd {
  readonly socket: Socket
  /** The head of the other side's part of the handshake. */
  readonly head: string
  /** What came behind it. */
  bytes(): Buffer
  frames(): Frame[]
  send(...pieces: (string | Buffer)[]): void
  /** Resolves once so many whole frames came; rejects when the other side ends first, or after `wait` ms. */
  received(count: number, wait?: number): Promise<Frame[]>
  /** The same for bytes. */
  receivedBytes(count: number, wait?: number): Promise<Buffer>
  /** Resolves once the bytes end with `text`. */
  ending(text: string, wait?: number): Promise<Buffer>
  /** How the other side ended; `open`: not within `wait` ms. */
  ended(wait?: number): Promise<'fin' | 'reset' | 'open'>
}

const PATIENCE = 8_000

/** Collects what a socket says; `head` ends with the first empty line. */
class Ear implements RawEnd {
  readonly socket: Socket
  head = ''
  #chunks: Buffer[] = []
  #size = 0
  #end: 'fin' | 'reset' | undefined
  readonly #watchers = new Set<() => void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#size += chunk.length
      if (this.head === '') this.#takeHead()
      this.#notify()
    })
    socket.on('end', () => this.#endAs('fin'))
    socket.on('error', () => this.#endAs('reset'))
    // Neither of the two came before: this side destroyed it
    socket.on('close', () => this.#endAs('reset'))
  }

  bytes(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0] ?? Buffer.alloc(0)
  }

  frames(): Frame[] {
    return framesOf(this.bytes()).frames
  }

  send(...pieces: (string | Buffer)[]): void {
    this.socket.write(Buffer.concat(pieces.map(piece => Buffer.from(piece as string))))
  }

  received(count: number, wait = PATIENCE): Promise<Frame[]> {
    return this.#until(`${count} frames`, () => some(this.frames(), count), wait)
  }

  receivedBytes(count: number, wait = PATIENCE): Promise<Buffer> {
    return this.#until(
      `${count} bytes`,
      () => (this.head !== '' && this.#size >= count ? this.bytes() : undefined),
      wait,
    )
  }

  ending(text: string, wait = PATIENCE): Promise<Buffer> {
    const expected = Buffer.from(text)
    // Not all of it with every chunk: a flood has thousands
    const look = (): Buffer | undefined =>
      this.#tail(expected.length).equals(expected) ? this.bytes() : undefined
    return this.#until(text, look, wait)
  }

  async ended(wait = PATIENCE): Promise<'fin' | 'reset' | 'open'> {
    await this.#watch(() => this.#end, wait)
    return this.#end ?? 'open'
  }

  /** Resolves with the head, as soon as it is whole. */
  async heard(wait = PATIENCE): Promise<string> {
    return this.#until('a head', () => this.head || undefined, wait)
  }

  #tail(length: number): Buffer {
    const last: Buffer[] = []
    for (let size = 0, at = this.#chunks.length - 1; size < length && at >= 0; at--) {
      last.unshift(this.#chunks[at]!)
      size += this.#chunks[at]!.length
    }
    return Buffer.concat(last).subarray(-length)
  }

  #takeHead(): void {
    const all = this.bytes()
    const end = all.indexOf('\r\n\r\n')
    if (end === -1) return
    this.head = all.toString('latin1', 0, end + 2)
    this.#chunks = [all.subarray(end + 4)]
    this.#size = all.length - end - 4
  }

  async #until<T>(what: string, look: () => T | undefined, wait: number): Promise<T> {
    const found = await this.#watch(() => look() ?? this.#end, wait)
    const result = look()
    if (result !== undefined) return result
    const so = `${JSON.stringify(this.head.slice(0, 100))} and ${this.#size} bytes`
    throw new Error(
      found === undefined ? `no ${what} within ${wait} ms: ${so}` : `ended before ${what}: ${so}`,
    )
  }

  #watch<T>(look: () => T | undefined, wait: number): Promise<T | undefined> {
    return new Promise(resolve => {
      const watcher = (): void => {
        const found = look()
        if (found !== undefined) settle(found)
      }
      const settle = (result: T | undefined): void => {
        this.#watchers.delete(watcher)
        clearTimeout(timer)
        resolve(result)
      }
      const timer = setTimeout(() => settle(undefined), wait)
      this.#watchers.add(watcher)
      watcher()
    })
  }

  #endAs(end: 'fin' | 'reset'): void {
    this.#end ??= end
    this.#notify()
  }

  #notify(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }
}

function some<T>(list: T[], count: number): T[] | undefined {
  return list.length >= count ? list : undefined
}

/** A client that has sent its handshake, and perhaps more right behind it. The answer's head is still to come. */
export async function rawClient(
  port: number,
  bytes: string | Buffer,
): Promise<RawEnd & { heard(): Promise<string> }> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  const ear = new Ear(socket)
  await once(socket, 'connect')
  ear.send(bytes)
  return ear
}

/** A client whose handshake was accepted. */
export async function rawWebSocket(port: number, path: string, lines: Lines = {}): Promise<RawEnd> {
  const client = await rawClient(port, handshake(path, lines))
  const head = await client.heard()
  if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`no WebSocket: ${head}${client.bytes()}`)
  return client
}

export interface RawUpstream {
  readonly url: string
  readonly connections: () => number
  /** The next connection whose handshake, with `part` in it, has been answered; each is given once. */
  next(part?: string): Promise<RawEnd>
  close(): Promise<void>
}

export interface RawUpstreamOptions {
  readonly tls?: { readonly cert: string; readonly key: string }
  /** What to say to a handshake, in place of yes. */
  readonly answer?: (head: string) => string | Buffer
}

/** An upstream that accepts every WebSocket and leaves the rest to the test. */
export async function rawUpstream(options: RawUpstreamOptions = {}): Promise<RawUpstream> {
  const { answer = (head: string) => switching(head) } = options
  const sockets = new Set<Socket>()
  const arrived: RawEnd[] = []
  const waiting: { part: string; take: (end: RawEnd) => void }[] = []
  let connections = 0
  const onSocket = (socket: Socket): void => {
    connections++
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('close', () => sockets.delete(socket))
    const ear = new Ear(socket)
    ear.heard(60_000).then(
      head => {
        ear.send(answer(head))
        const next = waiting.findIndex(({ part }) => head.includes(part))
        if (next === -1) arrived.push(ear)
        else waiting.splice(next, 1)[0]?.take(ear)
      },
      () => {},
    )
  }
  const server =
    options.tls === undefined
      ? net.createServer({ allowHalfOpen: true }, onSocket)
      : tls.createServer({ ...options.tls, allowHalfOpen: true }, onSocket)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    connections: () => connections,
    next(part = '') {
      const past = arrived.findIndex(({ head }) => head.includes(part))
      if (past !== -1) return Promise.resolve(arrived.splice(past, 1)[0]!)
      return new Promise((resolve, reject) => {
        const waiter = {
          part,
          take: (end: RawEnd): void => {
            clearTimeout(timer)
            resolve(end)
          },
        }
        const timer = setTimeout(() => {
          waiting.splice(waiting.indexOf(waiter), 1)
          reject(new Error(`no handshake with ${part} reached the upstream`))
        }, PATIENCE)
        waiting.push(waiter)
      })
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Both ends of one WebSocket through a gateway. */
export async function rawPair(
  gateway: { readonly port: number },
  upstream: RawUpstream,
  path: string,
  lines: Lines = {},
): Promise<{ client: RawEnd; server: RawEnd }> {
  const tag = `pair=${++pairs}.`
  const target = `${path}${path.includes('?') ? '&' : '?'}${tag}`
  const [client, server] = await Promise.all([rawWebSocket(gateway.port, target, lines), upstream.next(tag)])
  return { client, server }
}

let pairs = 0
