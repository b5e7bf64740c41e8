import type { IncomingMessage, ServerResponse } from 'node:http'
import { sendJson } from './json.ts'

const versionHeader = 'x-supabase-api-version'
const version = '2024-01-01'

/** A refusal in the words of Supabase Auth: clients branch on `code`, people read the message. */
export class AuthError extends Error {
  readonly status: number
  readonly code: string
  /** What stands beside them, for the few errors that say more. */
  readonly more: Record<string, unknown>

  constructor(status: number, code: string, message: string, more: Record<string, unknown> = {}) {
    super(message)
    this.name = 'AuthError'
    this.status = status
    this.code = code
    this.more = more
  }
}

/**
 * Supabase Auth has two shapes of error. The newer one goes to clients that name its version, and they
 * recognise it by the same header on the answer.
 */
export function sendAuthError(request: IncomingMessage, response: ServerResponse, error: AuthError): void {
  const { status, code, message, more } = error
  const asked = request.headers[versionHeader]
  if (typeof asked === 'string' && asked >= version) {
    sendJson(response, status, { code, message, ...more }, { [versionHeader]: version })
  } else {
    sendJson(response, status, { code: status, error_code: code, msg: message, ...more })
  }
}
