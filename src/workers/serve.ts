/** What serves in one thread, be it one of several workers or the only one: a gateway and, once told so, its front door. */

import type { GatewayConfig } from '../config/schema.ts'
import { trustedProxies } from '../edge/client-address.ts'
import { type FrontDoor, listen } from '../edge/listen.ts'
import type { Receiver } from '../edge/receive.ts'
import { buildGateway, type GatewayEvents, type Shared } from '../gateway.ts'
import { accessLog, refusedLine } from '../telemetry/access-log.ts'
import type { Log } from '../telemetry/log.ts'
import type { Board } from './board.ts'

/** Seconds that idle client connections stay open while draining. */
const IDLE_GRACE = 1

export interface Serving {
  /** Begins to fetch keys. */
  start(): void
  /** Keys are at hand. */
  ready(): boolean
  /** @throws when the port cannot be listened on */
  listen(port: number, reusePort: boolean): Promise<FrontDoor>
  /** Writes to the board how many connections are open. */
  publish(): void
  /** @returns when everything that was open has ended */
  close(): Promise<void>
  /** Ends what is still open. */
  cut(): void
  /** Lets go of keys and of connections to upstreams. */
  release(): void
}

export interface ServeOptions {
  readonly config: GatewayConfig
  readonly log: Log
  readonly board: Board
  readonly id: number
  readonly events: GatewayEvents
  readonly shared?: Shared
  /** Whether to ask a client to come back through another connection. */
  readonly shed?: () => boolean
}

export function serve({ config, log, board, id, events, shared, shed }: ServeOptions): Serving {
  const { server } = config
  const draining = (): boolean => board.phase === 'draining'
  const { revocations } = board
  const gateway = buildGateway(config, events, draining, {
    ...shared,
    revocations: {
      isRevoked: (session, user, issuedAt) => revocations.isRevoked(session, user, issuedAt, Date.now()),
    },
  })
  const requests = board.counters.cell(id, 'requests')
  const connections = board.counters.cell(id, 'connections')
  let front: FrontDoor | null = null
  const receiver: Receiver & { shed: () => boolean } = {
    handle: gateway.handle,
    refuse: gateway.refuse,
    observers: [accessLog(log), () => requests.add(1)],
    draining,
    pace: { idle: server.bodyTimeout, minRate: server.minBodyRate },
    sendTimeout: server.sendTimeout,
    shed: shed ?? (() => false),
  }
  return {
    start: () => void gateway.start(),
    ready: gateway.ready,
    async listen(port, reusePort) {
      front = await listen(receiver, {
        host: server.host,
        port,
        reusePort,
        headerTimeout: server.headerTimeout,
        keepAliveTimeout: server.keepAliveTimeout,
        trusted: trustedProxies(server.trustedProxies),
        onRefused: refusal => {
          if (log.enabled('warning')) log.writeLine(refusedLine(refusal))
        },
      })
      return front
    },
    publish() {
      connections.add((front?.connections ?? 0) - connections.value)
    },
    close: async () => front?.close(IDLE_GRACE),
    cut: () => front?.destroy(),
    release: gateway.close,
  }
}
