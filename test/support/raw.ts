/** Bytes to a port and back, for what no HTTP client would send. */

import net from 'node:net'

export interface RawAnswer {
  readonly text: string
  /** Status of the first answer, or 0 when there was none. */
  readonly status: number
  /** Number of status lines in the text. */
  readonly answers: number
  /** How the peer ended the connection; `open`: it did not within the time. */
  readonly end: 'fin' | 'reset' | 'open'
}

export interface RawOptions {
  /** Milliseconds to wait for the peer's end of the connection (3,000). */
  readonly wait?: number
  /** Stop waiting as soon as this says the text is enough. */
  readonly until?: (text: string) => boolean
}

/** Sends `bytes` (latin1) in one write and collects what comes until the peer ends, `until` is satisfied, or time is up. */
export function exchangeRaw(
  port: number,
  bytes: string | Buffer,
  options: RawOptions = {},
): Promise<RawAnswer> {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1')
    let text = ''
    const finish = (end: RawAnswer['end']): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({
        text,
        status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0),
        answers: countAnswers(text),
        end,
      })
    }
    const timer = setTimeout(() => finish('open'), options.wait ?? 3_000)
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
      if (options.until?.(text)) finish('open')
    })
    socket.on('end', () => finish('fin'))
    socket.on('error', () => finish('reset'))
    socket.on('connect', () => socket.write(bytes as string, 'latin1'))
  })
}

function countAnswers(text: string): number {
  return text.match(/HTTP\/1\.[01] \d{3} /g)?.length ?? 0
}

/** For `until`: the first answer is whole, going by its Content-Length. */
export function wholeAnswer(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return false
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1] ?? 0)
  return text.length >= end + 4 + length
}
