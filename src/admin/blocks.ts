/**
 * `POST /blocks`: a company, user, session or address that is refused from now on, whatever token it brings, in all
 * workers and on all gateways that share a Redis. `DELETE /blocks` takes it back, `GET /blocks` lists.
 */

import type { IncomingMessage } from 'node:http'
import * as z from 'zod'
import { parseNetwork } from '../store/addresses.ts'
import { type Block, MAX_ID_LENGTH } from '../store/block.ts'
import { type Blocking, MAX_BLOCKS, type Named } from '../workers/blocking.ts'
import { type AdminReply, jsonBody, NO_CONTENT, problem } from './json-body.ts'

const MAX_REASON = 200
const MAX_SECONDS = 366 * 86_400

const id = z
  .string('must be a text')
  .min(1, 'must not be empty')
  .max(MAX_ID_LENGTH, `must not be longer than ${MAX_ID_LENGTH} characters`)
  .refine(text => text.isWellFormed(), 'is no valid Unicode')

/** It becomes part of JSON, of trailers and of close frames, and is shown to people. */
const reason = z
  .string('must be a text')
  .refine(text => text.trim() !== '', 'must not be empty')
  .refine(text => [...text].length <= MAX_REASON, `must not be longer than ${MAX_REASON} characters`)
  .refine(
    text => text.isWellFormed() && !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text),
    'must have no control characters and no line breaks',
  )

const body = z
  .strictObject({
    company_id: id.optional(),
    user_id: id.optional(),
    session_id: id.optional(),
    ip: id.optional(),
    reason: reason.optional(),
    expires_in: z
      .number('must be a number of seconds')
      .positive('must be more than 0')
      .max(MAX_SECONDS, `must be at most ${MAX_SECONDS} seconds`)
      .optional(),
  })
  .refine(
    ({ company_id, user_id, session_id, ip }) =>
      [company_id, user_id, session_id, ip].filter(value => value !== undefined).length === 1,
    'must name one of company_id, user_id, session_id and ip',
  )

type Body = z.output<typeof body>

export class BlocksApi {
  readonly #blocking: Blocking

  constructor(blocking: Blocking) {
    this.#blocking = blocking
  }

  list(): AdminReply {
    return { status: 200, body: this.#blocking.list().map(describe) }
  }

  async add(request: IncomingMessage): Promise<AdminReply> {
    const read = await bodyOf(request)
    if ('status' in read) return read
    if (read.reason === undefined) return wrong('reason must be there: the client is told')
    const named = namedBy(read)
    if ('status' in named) return named
    const until = Date.now() + (read.expires_in ?? Number.POSITIVE_INFINITY) * 1000
    const done = this.#blocking.block(named, read.reason, until)
    if (done === null) return noRoom()
    return done.isNew ? { status: 201, body: describe(done.block) } : NO_CONTENT
  }

  async remove(request: IncomingMessage): Promise<AdminReply> {
    const read = await bodyOf(request)
    if ('status' in read) return read
    const named = namedBy(read)
    if ('status' in named) return named
    return this.#blocking.unblock(named) ? NO_CONTENT : notBlocked(named)
  }
}

export function noRoom(): AdminReply {
  const detail = `${MAX_BLOCKS} blocks are in force, and there is no room for another: nothing was blocked.`
  return problem(503, 'Service Unavailable', detail)
}

function notBlocked({ kind }: Named): AdminReply {
  return problem(404, 'Not Found', `This ${kind === 'ip' ? 'address or network' : kind} is not blocked.`)
}

function wrong(detail: string): AdminReply {
  return problem(400, 'Bad Request', detail)
}

async function bodyOf(request: IncomingMessage): Promise<Body | AdminReply> {
  const read = await jsonBody(request)
  if ('status' in read) return read
  const { json } = read
  if (json === undefined) return wrong('The body is not JSON.')
  const parsed = body.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  return wrong(`${issue!.path.length === 0 ? 'The body' : issue!.path.join('.')}: ${issue!.message}`)
}

function namedBy({ company_id, user_id, session_id, ip }: Body): Named | AdminReply {
  if (company_id !== undefined) return { kind: 'company', id: company_id }
  if (user_id !== undefined) return { kind: 'user', id: user_id }
  if (session_id !== undefined) return { kind: 'session', id: session_id }
  const network = parseNetwork(ip!)
  return typeof network === 'string' ? wrong(`ip ${network}`) : { kind: 'ip', id: network.text }
}

function describe({ kind, id, reason, since, until }: Block): object {
  return {
    kind,
    id,
    reason,
    since: new Date(since).toISOString(),
    until: until === Number.POSITIVE_INFINITY ? null : new Date(until).toISOString(),
  }
}
