import type { GatewayConfig, RouteConfig } from '../config/schema.ts'
import { ERRORS, type ErrorCode } from '../errors.ts'
import { VERSION } from '../version.ts'
import { takesTickets } from './tickets.ts'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** An OpenAPI 3.1 description of what the gateway serves itself and of its routes, as far as it knows them. */
export function openapiDocument(config: GatewayConfig): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {
    '/': { get: ownOperation('Name of the gateway') },
    '/health': { get: ownOperation('Liveness') },
    '/ready': { get: ownOperation('Readiness', ['keys_unavailable']) },
  }
  const tickets = takesTickets(config)
  if (tickets) paths[config.tickets.path] = { post: ticketOperation() }
  for (const route of config.routes) {
    const path = openapiPath(route.path)
    paths[path] ??= { parameters: parametersOf(path) }
    for (const method of route.methods ?? METHODS) {
      paths[path]![method.toLowerCase()] ??= routeOperation(route, method)
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: config.name,
      version: VERSION,
      description: 'Routes of the API gateway and what guards each.',
    },
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        ...(tickets ? { ticket: TICKET_SCHEME } : {}),
      },
      schemas: { Problem },
    },
  }
}

/** `/a/*` → `/a/{path}`. */
function openapiPath(pattern: string): string {
  return pattern.replace(/\/\*$/, '/{path}')
}

function parametersOf(path: string) {
  return [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function ownOperation(summary: string, codes: readonly ErrorCode[] = []) {
  return {
    summary,
    tags: ['Gateway'],
    responses: {
      200: { description: 'OK', content: { 'application/json': {} } },
      ...problemResponses(codes),
    },
  }
}

const TOKEN_ERRORS: readonly ErrorCode[] = [
  'not_authenticated',
  'token_expired',
  'company_missing',
  'keys_unavailable',
]
const UPSTREAM_ERRORS: readonly ErrorCode[] = ['upstream_reset', 'upstream_unreachable', 'upstream_timeout']

const TICKET_SCHEME = {
  type: 'apiKey',
  in: 'query',
  name: 'ticket',
  description: 'For a WebSocket or an event stream (`Accept: text/event-stream`), once.',
}

const ticketOperation = () => ({
  summary: 'A single-use ticket for a WebSocket or an event stream',
  tags: ['Gateway'],
  security: [{ bearer: [] }],
  responses: {
    201: {
      description: 'Created',
      content: {
        'application/json': {
          schema: {
            type: 'object',
            required: ['ticket', 'expires_in'],
            properties: {
              ticket: { type: 'string' },
              expires_in: { type: 'number', description: 'seconds' },
            },
          },
        },
      },
    },
    ...problemResponses([...TOKEN_ERRORS, 'tickets_exhausted']),
  },
})

function routeOperation(route: RouteConfig, method: string) {
  const codes = [
    ...(route.auth === 'none' ? [] : TOKEN_ERRORS),
    ...(route.tickets && method === 'GET' ? (['ticket_invalid'] as const) : []),
    ...(route.upstream === undefined ? [] : UPSTREAM_ERRORS),
  ]
  const name = route.name ?? route.path
  return {
    summary: `${method} ${name}`,
    operationId: `${method.toLowerCase()}_${name.replace(/\W+/g, '_')}`,
    tags: [name],
    ...(route.auth === 'none' ? {} : { security: securityOf(route, method) }),
    responses: { default: { description: 'The answer of the service' }, ...problemResponses(codes) },
  }
}

/** Any one of them will do. */
function securityOf(route: RouteConfig, method: string): Record<string, never[]>[] {
  const ways: Record<string, never[]>[] = route.auth === 'optional' ? [{}, { bearer: [] }] : [{ bearer: [] }]
  if (route.tickets && method === 'GET') ways.push({ ticket: [] })
  return ways
}

function problemResponses(codes: readonly ErrorCode[]) {
  const byStatus = new Map<number, string[]>()
  for (const code of codes) {
    const { status, detail } = ERRORS[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), `\`${code}\`: ${detail}`])
  }
  return Object.fromEntries(
    [...byStatus].map(([status, details]) => [
      status,
      {
        description: [...new Set(details)].join('\n\n'),
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  )
}

/** RFC 9457, with the gateway's own members. */
const Problem = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code', 'request_id'],
  properties: {
    type: { type: 'string', format: 'uri-reference' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string', enum: Object.keys(ERRORS) },
    request_id: { type: 'string' },
  },
}
