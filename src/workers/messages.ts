/** Everything that the supervisor and its worker threads say to each other. No request ever waits for any of it. */

import type { AdmissionBuffers } from '../admission/admission.ts'
import type { FixedSettings } from '../config/fixed.ts'
import type { ConfigSource } from '../config/load.ts'
import type { Jwk } from '../identity/key-source.ts'
import type { Ports } from '../listening.ts'
import type { Revocation } from '../store/revocation.ts'
import type { WorkerUsage } from '../usage/open.ts'
import type { QuotaName } from '../usage/quota-keeper.ts'
import type { FeedStart } from './block-feed.ts'
import type { BoardBuffers } from './board.ts'

/** What a worker is given when it starts. */
export interface WorkerData {
  readonly id: number
  /** How many share the configured connections and memory. */
  readonly workers: number
  readonly source: ConfigSource
  /** What the others run with, whatever the source says by now. */
  readonly fixed: FixedSettings
  /** Whether log lines are for people: the worker's own stdout says nothing about that. */
  readonly pretty: boolean
  readonly board: BoardBuffers
  readonly blocks: FeedStart
  /** How it counts usage; null: it does not. */
  readonly usage: WorkerUsage | null
  /** Whether to tell of quotas that begin to be used. */
  readonly keepsQuotas: boolean
  /** Whether to tell what sign-outs revoke. */
  readonly tellsRevoked: boolean
  /** TLS sessions are resumed with any worker. */
  readonly ticketKeys: Uint8Array
  /** The last key set, if there was one yet. */
  readonly keys: readonly Jwk[] | null
}

/** Make ready what serves another configuration; the answer is `prepared` or `unprepared`. */
export interface Prepare {
  readonly kind: 'prepare'
  readonly source: ConfigSource
  /** Null: the keys are those that it has. Else the first set of others, if there was one. */
  readonly keys: { readonly set: readonly Jwk[] | null } | null
  /** Those of upstreams that get a fair queue, too. */
  readonly admission: AdmissionBuffers
}

export type ToWorker =
  | { readonly kind: 'listen'; readonly ports: Ports }
  | { readonly kind: 'keys'; readonly keys: readonly Jwk[] }
  /**
   * A fetch was tried, or may not be yet; behind any new set. For so many milliseconds asking again would not help. The
   * answer to `keys wanted`, and to all after the first attempt.
   */
  | { readonly kind: 'keys asked'; readonly cooldown: number }
  | Prepare
  /** Every worker is prepared: go on with the other configuration. The answer is `swapped`. */
  | { readonly kind: 'swap' }
  /** Some worker is not: forget it. */
  | { readonly kind: 'discard' }
  /** Stop accepting, finish what is open, then end. */
  | { readonly kind: 'close' }
  /** Cut what is still open. */
  | { readonly kind: 'cut' }
  /** End now. */
  | { readonly kind: 'abandon' }

export type FromWorker =
  /** Ready to listen. */
  | { readonly kind: 'built'; readonly moduleChanged: boolean }
  | { readonly kind: 'listening' }
  /** Cannot start; ends by itself. */
  | { readonly kind: 'failed'; readonly fault: Fault }
  | { readonly kind: 'log'; readonly lines: string }
  | { readonly kind: 'keys wanted' }
  /** Somebody has begun to use them. */
  | { readonly kind: 'quotas'; readonly names: readonly QuotaName[] }
  /** Somebody has signed out; refused by all threads already. */
  | { readonly kind: 'revoked'; readonly revocation: Revocation }
  | { readonly kind: 'prepared' }
  | { readonly kind: 'unprepared'; readonly fault: Fault }
  | { readonly kind: 'swapped' }

/** An error as plain data: cloned, it would lose the fields that say what happened. */
export interface Fault {
  readonly message: string
  readonly stack?: string | undefined
  readonly code?: string | undefined
  readonly address?: string | undefined
  readonly port?: number | undefined
}

export function faultOf(error: unknown): Fault {
  if (!(error instanceof Error)) return { message: String(error) }
  const { message, stack, code, address, port } = error as NodeJS.ErrnoException & {
    address?: string
    port?: number
  }
  return { message, stack, code, address, port }
}

export function errorOf({ message, ...fields }: Fault): Error {
  return Object.assign(new Error(message), fields)
}
