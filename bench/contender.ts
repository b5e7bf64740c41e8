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

/** Something that stands between clients and the upstream: the gateway or one of its peers. */
export type Contender = {
  name: string
  /** What a reader of the table needs to know about it. */
  label: string
  /** It verifies tokens and injects the identity; false for the plain proxy that marks the floor. */
  authenticates: boolean
  /** It writes one line per request, and the lines are counted. */
  logs: boolean
  /** Why it cannot run on this machine; null when it can. */
  missing: () => Promise<string | null>
  start: (setting: Setting) => Promise<Running>
}
