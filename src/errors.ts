/**
 * The closed set of ways in which the gateway itself refuses or fails. Codes are stable: clients may branch on
 * them. `detail` is the text that the first gateway used and clients rely on.
 */

/** Who caused it: decides how it is logged and whether an operator must look. */
export type ErrorSource = 'client' | 'upstream' | 'gateway'

interface ErrorEntry {
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly source: ErrorSource
  /** Nothing reached the upstream or nothing was done there: the same request may be sent again. */
  readonly retryable: boolean
  /** The problem type that a standard gave it; default: the gateway's own, which `/docs` explains. */
  readonly type?: string | undefined
}

function entry(
  status: number,
  title: string,
  detail: string,
  source: ErrorSource,
  retryable = false,
  type?: string,
): ErrorEntry {
  return { status, title, detail, source, retryable, type }
}

/** Problem types of draft-ietf-httpapi-ratelimit-headers, as IANA lists them. */
const PROBLEM_TYPES = 'https://iana.org/assignments/http-problem-types#'

const TOKEN = 'Invalid token'
const NOT_READY = 'Gateway service is temporarily unavailable (client error).'

export const ERRORS = {
  // The message itself
  malformed_request: entry(400, 'Bad Request', 'The request is not valid HTTP.', 'client'),
  invalid_host: entry(400, 'Bad Request', 'The Host header is missing, repeated or invalid.', 'client'),
  invalid_target: entry(400, 'Bad Request', 'The request target is not valid.', 'client'),
  ambiguous_path: entry(400, 'Bad Request', 'The path could be read in more than one way.', 'client'),
  repeated_authorization: entry(400, 'Bad Request', 'More than one Authorization header.', 'client'),
  request_timeout: entry(408, 'Request Timeout', 'The request did not arrive in time.', 'client'),
  body_too_large: entry(
    413,
    'Content Too Large',
    'The request body is larger than this route allows.',
    'client',
  ),
  target_too_long: entry(414, 'URI Too Long', 'The request target is too long.', 'client'),
  expectation_failed: entry(417, 'Expectation Failed', 'Only 100-continue can be expected.', 'client'),
  headers_too_large: entry(
    431,
    'Request Header Fields Too Large',
    'The request headers are too large.',
    'client',
  ),
  unsupported_coding: entry(400, 'Bad Request', 'Only the chunked transfer coding is supported.', 'client'),
  unsupported_method: entry(501, 'Not Implemented', 'The request method is not supported.', 'client'),
  unsupported_version: entry(
    505,
    'HTTP Version Not Supported',
    'Only HTTP/1.0 and HTTP/1.1 are supported.',
    'client',
  ),

  // Route
  not_found: entry(404, 'Not Found', 'Not Found', 'client'),
  method_not_allowed: entry(405, 'Method Not Allowed', 'Method Not Allowed', 'client'),
  auth_not_configured: entry(
    501,
    'Not Implemented',
    'Authentication endpoint proxy not configured in the gateway.',
    'client',
  ),

  auth_admin_closed: entry(
    403,
    'Forbidden',
    'This path of the auth service is closed at the gateway.',
    'client',
  ),
  cors_origin: entry(
    403,
    'Forbidden',
    'This origin is not allowed by the CORS settings of the gateway.',
    'client',
  ),

  // WebSocket
  websocket_handshake: entry(400, 'Bad Request', 'The WebSocket handshake is not valid.', 'client'),
  websocket_version: entry(426, 'Upgrade Required', 'Only version 13 of WebSocket is supported.', 'client'),
  websocket_refused: entry(403, 'Forbidden', 'This route takes no WebSockets.', 'client'),

  // Identity
  not_authenticated: entry(401, 'Unauthorized', 'Not authenticated', 'client'),
  opaque_key: entry(
    401,
    'Unauthorized',
    'Not authenticated: the bearer is a Supabase API key, not a user token. Sign in and send the access_token.',
    'client',
  ),
  token_signature: entry(401, TOKEN, 'Invalid token signature.', 'client'),
  token_expired: entry(401, TOKEN, 'Token has expired.', 'client'),
  token_revoked: entry(401, TOKEN, 'Token has been revoked.', 'client'),
  token_audience: entry(401, TOKEN, 'Invalid token audience.', 'client'),
  token_claims_missing: entry(401, TOKEN, 'Token missing required claims', 'client'),
  token_invalid: entry(401, TOKEN, 'Token validation failed', 'client'),
  ticket_invalid: entry(401, 'Unauthorized', 'The ticket is unknown, used or expired.', 'client'),
  company_missing: entry(
    403,
    'Forbidden',
    'User authenticated, but company association is missing in token.',
    'client',
  ),
  subject_unusable: entry(
    403,
    'Forbidden',
    'User authenticated, but the subject cannot be forwarded.',
    'client',
  ),
  company_blocked: entry(403, 'Forbidden', 'This company is blocked.', 'client'),
  user_blocked: entry(403, 'Forbidden', 'This user is blocked.', 'client'),
  session_blocked: entry(403, 'Forbidden', 'This session is blocked.', 'client'),
  ip_blocked: entry(403, 'Forbidden', 'This address is blocked.', 'client'),
  claim_required: entry(403, 'Forbidden', 'The token does not grant access to this route.', 'client'),
  rate_limited: entry(
    429,
    'Too Many Requests',
    'A limit is used up: try again later.',
    'client',
    true,
    `${PROBLEM_TYPES}quota-exceeded`,
  ),
  auth_limited: entry(
    503,
    'Service Unavailable',
    'Too many requests to sign in or refresh: try again later.',
    'client',
    true,
    `${PROBLEM_TYPES}temporary-reduced-capacity`,
  ),
  keys_unavailable: entry(503, 'Service Unavailable', NOT_READY, 'gateway', true),

  // Upstream
  upstream_unreachable: entry(503, 'Service Unavailable', 'Upstream service unavailable.', 'upstream', true),
  upstream_tls: entry(503, 'Service Unavailable', 'Upstream service unavailable.', 'upstream', true),
  upstream_connect_timeout: entry(504, 'Gateway Timeout', 'Upstream service timeout.', 'upstream', true),
  upstream_busy: entry(504, 'Gateway Timeout', 'Upstream service timeout.', 'upstream', true),
  upstream_overloaded: entry(
    503,
    'Service Unavailable',
    'The service has more requests than it can take: try again later.',
    'client',
    true,
    `${PROBLEM_TYPES}temporary-reduced-capacity`,
  ),
  upstream_timeout: entry(504, 'Gateway Timeout', 'Upstream service timeout.', 'upstream'),
  upstream_reset: entry(502, 'Bad Gateway', 'Upstream service closed the connection.', 'upstream'),
  upstream_malformed: entry(502, 'Bad Gateway', 'Upstream service sent an invalid response.', 'upstream'),

  // The gateway
  deadline_exceeded: entry(504, 'Gateway Timeout', 'The deadline of the call has passed.', 'client'),
  client_gone: entry(499, 'Client Closed Request', 'The client closed the connection.', 'client'),
  tickets_exhausted: entry(503, 'Service Unavailable', 'Too many tickets wait to be used.', 'gateway', true),
  not_ready: entry(503, 'Service Unavailable', NOT_READY, 'gateway', true),
  internal: entry(500, 'Internal Server Error', 'An internal server error occurred.', 'gateway'),
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorOptions {
  /** Replaces the table's text. Reaches the client: no internal names, addresses or tokens in it. */
  readonly detail?: string
  /** Header lines of the answer, flat: `Allow`, `WWW-Authenticate`, `Retry-After`. */
  readonly headers?: readonly string[]
  /** More members of the problem (RFC 9457 §3.2). They reach the client. */
  readonly members?: Readonly<Record<string, unknown>>
  /** An operator's words for the client: a member of the problem beside `detail`. */
  readonly reason?: string | null
  /** What happened inside, for the log only. */
  readonly cause?: unknown
}

/** One failure of the closed set. Thrown by deep code, returned as a problem by policies. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode
  readonly headers: readonly string[]
  readonly members: Readonly<Record<string, unknown>> | undefined
  readonly reason: string | null

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    // Where a refusal was made says nothing that its code does not, and walking the stack for each would be a third of
    // what a refused request costs. What went wrong inside keeps its own stack, in the cause.
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(
      options.detail ?? ERRORS[code].detail,
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    Error.stackTraceLimit = limit
    this.code = code
    this.headers = options.headers ?? []
    this.members = options.members
    this.reason = options.reason ?? null
  }

  get entry(): ErrorEntry {
    return ERRORS[this.code]
  }

  get status(): number {
    return ERRORS[this.code].status
  }
}

/** Whatever was thrown, as an error of the set: the unforeseen is `internal` and keeps its cause for the log. */
export function asGatewayError(thrown: unknown): GatewayError {
  return thrown instanceof GatewayError ? thrown : new GatewayError('internal', { cause: thrown })
}
