/**
 * `POST /revocations`: a session, a user or a company whose tokens are refused from now on, in all workers at once.
 * `DELETE /revocations` takes it back.
 */

import type { IncomingMessage } from 'node:http'
import * as z from 'zod'
import type { Revocations, RevokedKind } from '../store/revocations.ts'

const MAX_BODY_BYTES = 4_096
const DAY = 86_400
const id = z.string().min(1).max(256)
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
  readonly kind: RevokedKind
  readonly name: string
  /** Seconds. */
  readonly expiresIn: number
}

export interface AdminReply {
  readonly status: number
  readonly body: object | null
}

const NO_CONTENT: AdminReply = { status: 204, body: null }

/** Names that are kept before those that are over are looked for. */
const PRUNE_AT = 1_000

export class RevocationsApi {
  readonly #revocations: Revocations
  #pruneAt = PRUNE_AT
  /** What was revoked here → until when. The shared table knows only hashes. */
  readonly #until = new Map<string, number>()

  constructor(revocations: Revocations) {
    this.#revocations = revocations
  }

  /** How many revocations of this port are in force. */
  list(now: number = Date.now()): AdminReply {
    for (const [name, until] of this.#until) if (until <= now) this.#until.delete(name)
    return { status: 200, body: { count: this.#until.size } }
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
    if (!this.#revocations.revoke(kind, name, until, now)) {
      return problem(
        503,
        'Service Unavailable',
        'There is no room for another revocation: nothing was revoked.',
      )
    }
    if (this.#until.size >= this.#pruneAt) {
      this.list(now)
      this.#pruneAt = Math.max(PRUNE_AT, 2 * this.#until.size)
    }
    const key = keyOf(kind, name)
    this.#until.set(key, Math.max(until, this.#until.get(key) ?? 0))
    return NO_CONTENT
  }

  /** Asks the shared table, for users who signed out through the gateway are in it as well. */
  #restore({ kind, name }: Named): AdminReply {
    this.#until.delete(keyOf(kind, name))
    if (this.#revocations.restore(kind, name, Date.now())) return NO_CONTENT
    return problem(404, 'Not Found', `This ${kind} is not revoked.`)
  }
}

function keyOf(kind: RevokedKind, name: string): string {
  return `${kind}|${name}`
}

/** What a request is about, or what is wrong with it. */
async function namedBy(request: IncomingMessage): Promise<Named | AdminReply> {
  // Browsers send JSON to foreign places only after a preflight, which nothing here answers.
  if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? '')) {
    return problem(415, 'Unsupported Media Type', 'Send application/json.')
  }
  const text = await boundedText(request)
  if (text === null) return problem(413, 'Content Too Large', `At most ${MAX_BODY_BYTES} bytes.`)
  const parsed = body.safeParse(jsonOf(text))
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

function problem(status: number, title: string, detail: string): AdminReply {
  return { status, body: { type: 'about:blank', title, status, detail } }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** @returns null when it is longer than anybody needs */
async function boundedText(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
