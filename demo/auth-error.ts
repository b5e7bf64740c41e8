import type { IncomingMessage, ServerResponse } from 'node:http'
import { sendJson } from './json.ts'

const versionHeader = 'x-supabase-api-version'
const version = '2024-01-01'

/** A refusal in the words of Supabase Auth: clients branch on `code`, people read the message. */
export class AuthError extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.name = 'AuthError'
    this.status = status
    this.code = code
  }
}

/**
 * Supabase Auth has two shapes of error. The newer one goes to clients that name its version, and they
 * recognise it by the same header on the answer.
 */
export function sendAuthError(request: IncomingMessage, response: ServerResponse, error: AuthError): void {
  const asked = request.headers[versionHeader]
  if (typeof asked === 'string' && asked >= version) {
    sendJson(
      response,
      error.status,
      { code: error.code, message: error.message },
      { [versionHeader]: version },
    )
  } else {
    sendJson(response, error.status, { code: error.status, error_code: error.code, msg: error.message })
  }
}
