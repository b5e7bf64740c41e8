/**
 * `POST /revocations`: a session or a user whose tokens are refused from now on, in all workers at once.
 * `DELETE /revocations` takes it back. A company that is named here is blocked, as by `POST /blocks`.
 */

import type { IncomingMessage } from 'node:http'
import * as z from 'zod'
import { isTellable, type RevokedKind, revocationOf } from '../store/revocation.ts'
import type { Revocations } from '../store/revocations.ts'
import type { Blocking } from '../workers/blocking.ts'
import type { Revoking } from '../workers/revoking.ts'
import { noRoom } from './blocks.ts'
import { type AdminReply, jsonBody, NO_CONTENT, problem } from './json-body.ts'

const DAY = 86_400
const id = z.string().refine(isTellable)
const expiry = z
  .number()
  .positive()
  .max(366 * DAY)

const body = z.union([
  z.strictObject({ session_id: id, expires_in: expiry.default(DAY) }),
  z.strictObject({ user_id: id, expires_in: expiry.default(DAY) }),
  // What a company did, or did not pay, is not over with its tokens: somebody has to say so.
  z.strictObject({ company_id: id, expires_in: expiry.default(Number.POSITIVE_INFINITY) }),
])

interface Named {
  readonly kind: RevokedKind | 'company'
  readonly name: string
  /** Seconds. */
  readonly expiresIn: number
}

interface Revoked {
  readonly kind: RevokedKind
  readonly name: string
  /** Milliseconds since 1970. */
  readonly until: number
}

/** Names that are kept before those that are over are looked for. */
const PRUNE_AT = 1_000

export class RevocationsApi {
  readonly #revocations: Revocations
  readonly #revoking: Revoking | null
  readonly #blocking: Blocking
  #pruneAt = PRUNE_AT
  /** What was revoked here, and until when. The shared table knows only hashes. */
  readonly #revoked = new Map<string, Revoked>()

  /** @param revoking tells other gateways; null: there are none */
  constructor(revocations: Revocations, revoking: Revoking | null, blocking: Blocking) {
    this.#revocations = revocations
    this.#revoking = revoking
    this.#blocking = blocking
  }

  /** How many revocations of this port, and how many blocked companies, are in force. */
  list(now: number = Date.now()): AdminReply {
    this.#prune(now)
    const companies = this.#blocking.list(now).filter(({ kind }) => kind === 'company')
    return { status: 200, body: { count: this.#revoked.size + companies.length } }
  }

  #prune(now: number): void {
    for (const [key, { kind, name, until }] of this.#revoked) {
      // Another gateway may have taken it back
      if (until <= now || !this.#revocations.has(kind, name, now)) this.#revoked.delete(key)
    }
  }

  async add(request: IncomingMessage): Promise<AdminReply> {
    const named = await namedBy(request)
    return 'status' in named ? named : this.#revoke(named)
  }

  async remove(request: IncomingMessage): Promise<AdminReply> {
    const named = await namedBy(request)
    return 'status' in named ? named : this.#restore(named)
  }

  #revoke({ kind, name, expiresIn }: Named): AdminReply {
    const now = Date.now()
    const until = now + expiresIn * 1000
    if (kind === 'company')
      return this.#blocking.block({ kind, id: name }, null, until) ? NO_CONTENT : noRoom()
    if (!this.#revocations.revoke(kind, name, until, now)) {
      return problem(
        503,
        'Service Unavailable',
        'There is no room for another revocation: nothing was revoked.',
      )
    }
    this.#revoking?.note(revocationOf(kind, name, now, Math.ceil(until)))
    if (this.#revoked.size >= this.#pruneAt) {
      this.#prune(now)
      this.#pruneAt = Math.max(PRUNE_AT, 2 * this.#revoked.size)
    }
    const key = keyOf(kind, name)
    const before = this.#revoked.get(key)?.until ?? 0
    this.#revoked.set(key, { kind, name, until: Math.max(until, before) })
    return NO_CONTENT
  }

  /** Asks the shared table, for users who signed out through the gateway are in it as well. */
  #restore({ kind, name }: Named): AdminReply {
    this.#revoked.delete(keyOf(kind, name))
    const restored =
      kind === 'company'
        ? this.#blocking.unblock({ kind, id: name })
        : (this.#revoking ?? this.#revocations).restore(kind, name, Date.now())
    if (restored) return NO_CONTENT
    return problem(404, 'Not Found', `This ${kind} is not revoked.`)
  }
}

function keyOf(kind: Named['kind'], name: string): string {
  return `${kind}|${name}`
}

/** What a request is about, or what is wrong with it. */
async function namedBy(request: IncomingMessage): Promise<Named | AdminReply> {
  const read = await jsonBody(request)
  if ('status' in read) return read
  const { json } = read
  const parsed = body.safeParse(json)
  if (!parsed.success) {
    const form = '{"session_id": "…"}, {"user_id": "…"} or {"company_id": "…"}'
    return problem(400, 'Bad Request', `The body must be ${form}, with expires_in (seconds) if need be.`)
  }
  const { data } = parsed
  const expiresIn = data.expires_in
  if ('session_id' in data) return { kind: 'session', name: data.session_id, expiresIn }
  if ('user_id' in data) return { kind: 'user', name: data.user_id, expiresIn }
  return { kind: 'company', name: data.company_id, expiresIn }
}
