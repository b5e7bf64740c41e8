/** One client connection held open over several steps: write some, wait for an answer, write more, leave. */

import { once } from 'node:events'
import net from 'node:net'

export interface Connection {
  readonly socket: net.Socket
  /** Everything received so far, latin1. */
  readonly text: () => string
  write(bytes: string | Buffer): void
  /** Resolves with the text as soon as `fits` accepts it; rejects when the peer ends first or after `wait` ms. */
  until(fits: (text: string) => boolean, wait?: number): Promise<string>
  /** How the peer ended the connection; `open` when it did not within `wait` ms. */
  ended(wait?: number): Promise<'fin' | 'reset' | 'open'>
  /** Leaves at once. */
  leave(): void
}

/** Milliseconds for what is to come, and for an end that may stay away. */
const PATIENCE = 10_000
const PATIENCE_FOR_END = 5_000

export async function openConnection(port: number): Promise<Connection> {
  const socket = net.connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  let text = ''
  let end: 'fin' | 'reset' | undefined
  const watchers = new Set<() => void>()
  const notify = (): void => {
    for (const watcher of [...watchers]) watcher()
  }
  socket.on('data', chunk => {
    text += chunk.toString('latin1')
    notify()
  })
  socket.on('end', () => {
    end ??= 'fin'
    notify()
  })
  socket.on('error', () => {
    end ??= 'reset'
    notify()
  })
  await once(socket, 'connect')

  const wait = <T>(look: () => T | undefined, late: () => T | Error, time: number): Promise<T> =>
    new Promise((resolve, reject) => {
      const settle = (result: T | Error): void => {
        watchers.delete(watcher)
        clearTimeout(timer)
        if (result instanceof Error) reject(result)
        else resolve(result)
      }
      const watcher = (): void => {
        try {
          const found = look()
          if (found !== undefined) settle(found)
        } catch (error) {
          settle(error as Error)
        }
      }
      const timer = setTimeout(() => settle(late()), time)
      watchers.add(watcher)
      watcher()
    })

  return {
    socket,
    text: () => text,
    write(bytes) {
      if (typeof bytes === 'string') socket.write(bytes, 'latin1')
      else socket.write(bytes)
    },
    until(fits, time = PATIENCE) {
      const tail = (): string => JSON.stringify(text.slice(-400))
      const look = (): string | undefined => {
        if (fits(text)) return text
        if (end !== undefined) throw new Error(`the peer ended (${end}) after ${tail()}`)
        return undefined
      }
      return wait(look, () => new Error(`nothing fitting within ${time} ms: ${tail()}`), time)
    },
    ended(time = PATIENCE_FOR_END) {
      return wait<'fin' | 'reset' | 'open'>(
        () => end,
        () => 'open',
        time,
      )
    },
    leave() {
      socket.destroy()
    },
  }
}

/** Connections to one gateway that all end together, with the tests that opened them. */
export function connectionsTo(port: () => number): { open(): Promise<Connection>; leave(): void } {
  const opened: Connection[] = []
  return {
    async open() {
      const connection = await openConnection(port())
      opened.push(connection)
      return connection
    },
    leave() {
      for (const connection of opened) connection.leave()
    },
  }
}
