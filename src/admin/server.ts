/** The admin port: for operators and probes, on loopback unless told otherwise; nothing of it is reachable from the front. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { GatewayConfig } from '../config/schema.ts'
import { listening, urlOf } from '../listening.ts'
import type { UsageLedger } from '../usage/ledger.ts'
import type { Blocking } from '../workers/blocking.ts'
import type { Board } from '../workers/board.ts'
import type { ReloadOutcome } from '../workers/reload.ts'
import type { Revoking } from '../workers/revoking.ts'
import { BlocksApi } from './blocks.ts'
import type { AdminReply } from './json-body.ts'
import { describeLimits } from './limits-table.ts'
import { reloadFor } from './reload.ts'
import { RevocationsApi } from './revocations.ts'
import { describeRoutes } from './route-table.ts'
import { describeUpstreams } from './upstream-table.ts'
import { UsageApi } from './usage.ts'
import { describeWorkers, type WorkerLife } from './worker-table.ts'

export interface AdminServer {
  readonly url: string
  /** Another configuration is described from now on. */
  describe(config: GatewayConfig): void
  close(): Promise<void>
}

export interface AdminState {
  readonly ready: () => boolean
  readonly draining: () => boolean
  readonly workers: () => readonly WorkerLife[]
  readonly board: Board
  readonly blocking: Blocking
  /** null: no other gateway is told of revocations. */
  readonly revoking: Revoking | null
  /** null: usage is not counted. */
  readonly usage: UsageLedger | null
  readonly reload: () => Promise<ReloadOutcome>
}

export async function startAdmin(
  config: GatewayConfig,
  state: AdminState,
  port: number,
): Promise<AdminServer> {
  let described = descriptionOf(config)
  const isMeant = hostCheck(config.admin.host)
  const revocations = new RevocationsApi(state.board.revocations, state.revoking, state.blocking)
  const blocks = new BlocksApi(state.blocking)
  const usage = new UsageApi(state.usage)
  const server = createServer((request, response) => {
    if (!isMeant(request.headers.host)) return refuse(request, response, 421, 'Misdirected Request')
    const path = request.url?.split('?', 1)[0]
    if (path === '/revocations' && request.method === 'POST')
      return answer(response, revocations.add(request))
    if (path === '/revocations' && request.method === 'DELETE')
      return answer(response, revocations.remove(request))
    if (path === '/blocks' && request.method === 'POST') return answer(response, blocks.add(request))
    if (path === '/blocks' && request.method === 'DELETE') return answer(response, blocks.remove(request))
    if (path === '/reload' && request.method === 'POST')
      return answer(response, reloadFor(request, state.reload))
    request.resume()
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return send(response, 405, { detail: 'Method Not Allowed' })
    switch (path) {
      case '/health':
        return send(response, 200, { status: 'healthy', service: described.name })
      case '/ready':
        return send(response, state.ready() ? 200 : 503, {
          status: state.ready() ? 'ready' : state.draining() ? 'draining' : 'starting',
        })
      case '/routes':
        return send(response, 200, described.routes)
      case '/workers':
        return send(response, 200, describeWorkers(state.workers(), state.board))
      case '/usage':
        return usage.serve(request, response)
      case '/upstreams':
        return send(response, 200, describeUpstreams(state.board.admission))
      case '/limits':
        return send(response, 200, describeLimits(config, state.board))
      case '/revocations':
        return send(response, 200, revocations.list().body!)
      case '/blocks':
        return send(response, 200, blocks.list().body!)
      default:
        return send(response, 404, { detail: 'Not Found' })
    }
  })
  const { host } = config.admin
  const url = urlOf(host, await listening(server, port, host))
  return {
    url,
    describe(config) {
      described = descriptionOf(config)
    },
    close() {
      return new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    },
  }
}

function descriptionOf(config: GatewayConfig): { name: string; routes: string } {
  return { name: config.name, routes: JSON.stringify(describeRoutes(config), null, 2) }
}

const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i

/**
 * On loopback only loopback's names are answered: a page that lets its own name resolve to 127.0.0.1 (DNS rebinding)
 * must not read this port through a browser.
 */
function hostCheck(bound: string): (host: string | undefined) => boolean {
  const isLocal = bound === 'localhost' || bound === '::1' || bound.startsWith('127.')
  return host => !isLocal || (host !== undefined && LOOPBACK.test(host))
}

function refuse(request: IncomingMessage, response: ServerResponse, status: number, detail: string): void {
  request.resume()
  send(response, status, { detail })
}

/** The rest of a body that is too long is not worth reading: the connection ends with the answer. */
function answer(response: ServerResponse, replied: Promise<AdminReply>): void {
  replied.then(
    ({ status, body }) => {
      if (status === 413) response.setHeader('connection', 'close')
      if (body === null) return response.writeHead(status).end()
      const text = JSON.stringify(body)
      response
        .writeHead(status, {
          'content-type': status < 400 ? 'application/json' : 'application/problem+json',
          'content-length': Buffer.byteLength(text),
        })
        .end(text)
    },
    () => response.destroy(),
  )
}

function send(response: ServerResponse, status: number, body: string | object): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text)
}
