import { connect, type Socket } from 'node:net'
import { Answers } from './answers.ts'

type Answered = (status: number, body: Buffer) => void
type Use = { socket: Socket; answered: Answered | null }

const GONE = Buffer.alloc(0)

/** Keep-alive connections as a client has them: opened when none is free, and again when the server closes one. */
export class Sockets {
  readonly #port: number
  readonly #idle: Use[] = []
  readonly #open = new Set<Use>()
  opened = 0

  constructor(port: number) {
    this.#port = port
  }

  /** @param answered status 0: the connection was closed before the answer came */
  ask(request: string, answered: Answered): void {
    const use = this.#idle.pop() ?? this.#connect()
    use.answered = answered
    use.socket.write(request, 'latin1')
  }

  /** What is under way is never answered. */
  close(): void {
    for (const use of this.#open) {
      use.answered = null
      use.socket.destroy()
    }
  }

  #connect(): Use {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true })
    const use: Use = { socket, answered: null }
    const answers = new Answers((status, body) => {
      const { answered } = use
      use.answered = null
      this.#idle.push(use)
      answered?.(status, body)
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        answers.push(chunk)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    socket.on('error', () => socket.destroy())
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      this.#open.delete(use)
      const at = this.#idle.indexOf(use)
      if (at >= 0) this.#idle.splice(at, 1)
      const { answered } = use
      use.answered = null
      answered?.(0, GONE)
    })
    this.#open.add(use)
    this.opened++
    return use
  }
}
