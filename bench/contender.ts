import type { Cores } from './cores.ts'
import type { Started } from './process.ts'

/** What a contender is given to start with. */
export type Setting = {
  /** A directory of its own for configuration and output. */
  directory: string
  upstreamPort: number
  cores: Cores
}

/** A contender that answers. */
export type Running = {
  name: string
  port: number
  process: Started
}

/** How much of the work a contender does; each includes those before it. */
export const DUTIES = ['answer', 'forward', 'token', 'identity'] as const

/**
 * - `answer`: answers by itself, nothing stands behind it;
 * - `forward`: passes requests on and checks nothing;
 * - `token`: refuses bad tokens too;
 * - `identity`: also asks for a company and tells the upstream who calls, whatever the client claims to be.
 */
export type Duty = (typeof DUTIES)[number]

/** Something that stands between clients and the upstream: the gateway or one of its peers. */
export type Contender = {
  name: string
  /** What a reader of the table needs to know about it. */
  label: string
  duty: Duty
  /** It writes one line per request, and the lines are counted. */
  logs: boolean
  /** How it is set up and what it leaves out, for the page. */
  about: string
  /** Prints its version. */
  version?: [command: string, ...args: string[]]
  /** Why it cannot run on this machine; null when it can. */
  missing: () => Promise<string | null>
  start: (setting: Setting) => Promise<Running>
}

export function does(contender: Contender, duty: Duty): boolean {
  return DUTIES.indexOf(contender.duty) >= DUTIES.indexOf(duty)
}
