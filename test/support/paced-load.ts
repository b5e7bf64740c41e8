/** Requests at a steady rate, whatever becomes of them: paced by the clock, over connections that are kept. */

import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

export interface LoadOptions {
  readonly ports: readonly number[]
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Requests per second over all ports, which take turns. */
  readonly rate: number
  readonly seconds: number
  /** Ends it before. */
  readonly signal?: AbortSignal
  /** Every tenth request more, for comparison: it is not among the answers that are counted. */
  readonly control?: string
}

export interface LoadResult {
  /** Answers by status; 0: none came. */
  readonly statuses: ReadonlyMap<number, number>
  /** Of each answer, in milliseconds, in order of size. */
  readonly times: readonly number[]
  /** The same of the requests for comparison. */
  readonly controls: readonly number[]
  /** From the first request to the last answer. */
  readonly seconds: number
  /** When each was answered, in milliseconds, port by port. */
  readonly moments: readonly (readonly number[])[]
}

const PATIENCE_MS = 10_000

export async function pacedLoad(options: LoadOptions): Promise<LoadResult> {
  const { ports, path, headers = {}, rate, seconds, control, signal } = options
  const fields = Object.entries({ host: 'gateway', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  const requestOf = (target: string): string => `GET ${target} HTTP/1.1\r\n${fields.join('')}\r\n`
  const pools = ports.map(port => new Pool(port, requestOf(path)))
  const others = control === undefined ? [] : ports.map(port => new Pool(port, requestOf(control)))
  const statuses = new Map<number, number>()
  const times: number[] = []
  const controls: number[] = []
  const pending: Promise<void>[] = []
  const moments = ports.map((): number[] => [])
  const start = performance.now()
  let sent = 0
  for (let now = start; now - start < seconds * 1000 && !signal?.aborted; now = performance.now()) {
    const due = Math.floor(((now - start) * rate) / 1000)
    while (sent < due) {
      if (others.length > 0 && sent % 10 === 0) pending.push(compare(others[(sent / 10) % others.length]!))
      pending.push(one(sent++ % pools.length))
    }
    await delay(1)
  }
  await Promise.all(pending)
  for (const pool of [...pools, ...others]) pool.close()
  return {
    statuses,
    times: times.sort((a, b) => a - b),
    controls: controls.sort((a, b) => a - b),
    seconds: (Math.max(...moments.flat()) - start) / 1000,
    moments,
  }

  async function compare(pool: Pool): Promise<void> {
    const begin = performance.now()
    await pool.send()
    controls.push(performance.now() - begin)
  }

  async function one(port: number): Promise<void> {
    const begin = performance.now()
    const status = await pools[port]!.send()
    const end = performance.now()
    times.push(end - begin)
    moments[port]!.push(end)
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
  }
}

export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}

class Pool {
  readonly #port: number
  readonly #request: string
  readonly #idle: Client[] = []
  readonly #all = new Set<Client>()

  constructor(port: number, request: string) {
    this.#port = port
    this.#request = request
  }

  async send(): Promise<number> {
    const client = this.#idle.pop() ?? new Client(this.#port)
    this.#all.add(client)
    const status = await client.send(this.#request)
    if (client.usable) this.#idle.push(client)
    else this.#all.delete(client)
    return status
  }

  close(): void {
    for (const client of this.#all) client.end()
  }
}

/** One connection with one request at a time, whose answers have a length. */
class Client {
  usable = true
  readonly #socket: Socket
  #received = ''
  #resolve: (status: number) => void = () => {}

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', text => this.#take(String(text)))
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => {
      this.usable = false
      this.#resolve(0)
    })
  }

  send(request: string): Promise<number> {
    return new Promise(resolve => {
      const timer = setTimeout(() => this.end(), PATIENCE_MS)
      this.#resolve = status => {
        clearTimeout(timer)
        resolve(status)
      }
      this.#socket.write(request)
    })
  }

  end(): void {
    this.#socket.destroy()
  }

  #take(text: string): void {
    this.#received += text
    const end = this.#received.indexOf('\r\n\r\n')
    if (end === -1) return
    const head = this.#received.slice(0, end)
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
    if (this.#received.length < end + 4 + length) return
    this.#received = ''
    if (/connection: close/i.test(head)) this.usable = false
    this.#resolve(Number(head.slice(9, 12)))
  }
}
