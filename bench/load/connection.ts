import { connect, type Socket } from 'node:net'
import { Answers } from './answers.ts'

/** One keep-alive connection that has one request at a time under way. */
export class Connection {
  readonly #socket: Socket
  #answered: ((status: number, body: Buffer) => void) | null = null

  private constructor(socket: Socket, onBroken: (error: Error) => void) {
    this.#socket = socket
    const answers = new Answers((status, body) => {
      const answered = this.#answered
      this.#answered = null
      if (answered === null) onBroken(new Error('an answer to nothing'))
      else answered(status, body)
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        answers.push(chunk)
      } catch (error) {
        onBroken(error as Error)
      }
    })
    socket.on('error', onBroken)
    socket.on('close', () => onBroken(new Error('the connection was closed')))
  }

  static open(port: number, onBroken: (error: Error) => void): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new Connection(socket, onBroken))
      })
    })
  }

  ask(request: string, answered: (status: number, body: Buffer) => void): void {
    this.#answered = answered
    this.#socket.write(request, 'latin1')
  }

  close(): void {
    this.#socket.removeAllListeners('close')
    this.#socket.destroy()
  }
}
