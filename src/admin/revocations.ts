/** `POST /revocations`: a session or a user whose tokens are refused from now on, in all workers at once. */

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
  .default(DAY)

const body = z.union([
  z.strictObject({ session_id: id, expires_in: expiry }),
  z.strictObject({ user_id: id, expires_in: expiry }),
])

export interface AdminReply {
  readonly status: number
  readonly body: object | null
}

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
    // Browsers send JSON to foreign places only after a preflight, which nothing here answers.
    if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? '')) {
      return problem(415, 'Unsupported Media Type', 'Send application/json.')
    }
    const text = await boundedText(request)
    if (text === null) return problem(413, 'Content Too Large', `At most ${MAX_BODY_BYTES} bytes.`)
    const parsed = body.safeParse(jsonOf(text))
    if (!parsed.success) {
      const form = '{"session_id": "…"} or {"user_id": "…"}, with expires_in (seconds) if not a day'
      return problem(400, 'Bad Request', `The body must be ${form}.`)
    }
    const { data } = parsed
    return 'session_id' in data
      ? this.#revoke('session', data.session_id, data.expires_in)
      : this.#revoke('user', data.user_id, data.expires_in)
  }

  #revoke(kind: RevokedKind, name: string, expiresIn: number): AdminReply {
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
    const key = `${kind}|${name}`
    this.#until.set(key, Math.max(until, this.#until.get(key) ?? 0))
    return { status: 204, body: null }
  }
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
