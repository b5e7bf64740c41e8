import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { onCore } from '../cores.ts'
import { token } from '../token.ts'
import type { Seen } from './question.ts'

/** What h2load does before it begins to count. */
export const WARM_UP_SECONDS = 1

const ATTEMPTS = 2

export type Counted = Pick<Seen, 'requests' | 'seconds' | 'wrong' | 'socketErrors'>

export type H2Load = {
  protocol: 'h1' | 'h2'
  connections: number
  /** Requests under way on each connection. */
  streams: number
  path: string
}

/** h2load over TLS for so many seconds: the same program for both versions of HTTP. */
export async function h2load(
  { protocol, connections, streams, path }: H2Load,
  port: number,
  seconds: number,
  core: string | null,
): Promise<Counted> {
  const [command, ...args] = onCore(core, [
    'h2load',
    ...(protocol === 'h1' ? ['--h1'] : []),
    ...['--clients', String(connections), '--max-concurrent-streams', String(streams)],
    ...['--duration', String(seconds), '--warm-up-time', String(WARM_UP_SECONDS)],
    ...['--header', `authorization: Bearer ${token()}`],
    `https://127.0.0.1:${port}${path}`,
  ])
  const limit = (seconds + 20) * 1000
  for (let tried = 1; ; tried++) {
    try {
      const { stdout } = await promisify(execFile)(command, args, { timeout: limit })
      return readReport(stdout, protocol)
    } catch (error) {
      // On a busy machine h2load now and then waits for ever behind its own end; no figure comes of that.
      if (tried === ATTEMPTS || (error as { killed?: boolean }).killed !== true) throw error
    }
  }
}

/** Fails on a report that it does not understand: an unread one must not count as a clean one. */
export function readReport(report: string, protocol: H2Load['protocol']): Counted {
  const numbers = (pattern: RegExp): number[] => {
    const match = pattern.exec(report)
    if (match === null) throw new Error(`h2load says nothing of ${pattern}:\n${report}`)
    return match.slice(1).map(Number)
  }
  const application = protocol === 'h1' ? 'http/1.1' : 'h2'
  if (!report.includes(`Application protocol: ${application}\n`))
    throw new Error(`h2load did not speak ${application}:\n${report}`)
  const [perSecond = 0] = numbers(/finished in [\d.]+m?s, ([\d.]+) req\/s/)
  const [done = 0, , failed = 0, errored = 0, timedOut = 0] = numbers(
    /requests: .*?(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/,
  )
  const [ok = 0] = numbers(/status codes: (\d+) 2xx/)
  return {
    requests: done,
    seconds: done / perSecond,
    wrong: done - ok,
    socketErrors: failed + errored + timedOut,
  }
}
