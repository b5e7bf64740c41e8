/** What serves in one thread, be it one of several workers or the only one: a gateway and, once told so, its front door. */

import { randomBytes } from 'node:crypto'
import { TICKET_KEY_BYTES, validityWarning } from '../certificate.ts'
import type { GatewayConfig } from '../config/schema.ts'
import { trustedProxies } from '../edge/client-address.ts'
import { type FrontDoor, listen } from '../edge/listen.ts'
import type { Receiver } from '../edge/receive.ts'
import type { TlsOptions } from '../edge/tls.ts'
import { buildGateway, type KeyEvents, type Shared } from '../gateway.ts'
import { Lifetimes } from '../lifetimes.ts'
import type { LimitEvents } from '../limits/limits.ts'
import type { Ports } from '../listening.ts'
import { accessLog, refusedLine } from '../telemetry/access-log.ts'
import type { Log } from '../telemetry/log.ts'
import type { Board } from './board.ts'
import { openLimits } from './open-limits.ts'
import { revokedTokens } from './revoked-tokens.ts'
import { signOutFrom } from './sign-out.ts'

/** Seconds that idle client connections stay open while draining. */
const IDLE_GRACE = 1

export interface Serving {
  /** Begins to fetch keys. */
  start(): void
  /** Keys are at hand. */
  ready(): boolean
  /** @throws when a port cannot be listened on, or the certificate cannot be served */
  listen(ports: Ports, reusePort: boolean): Promise<FrontDoor>
  /** Writes to the board how many connections are open. */
  publish(): void
  /** @returns when everything that was open has ended */
  close(): Promise<void>
  /** Ends what is still open. */
  cut(): void
  /** Lets go of keys and of connections to upstreams and Redis. */
  release(): void
}

export interface ServeOptions {
  readonly config: GatewayConfig
  readonly log: Log
  readonly board: Board
  readonly id: number
  readonly events: KeyEvents
  readonly shared?: Omit<Shared, 'limits'>
  /** Whether to ask a client to come back through another connection. */
  readonly shed?: () => boolean
  /** For TLS sessions that are to be resumed with other threads; default: some of its own. */
  readonly ticketKeys?: Buffer
}

export async function serve(options: ServeOptions): Promise<Serving> {
  const { config, log, board, id, events, shared, shed } = options
  const { server } = config
  const draining = (): boolean => board.phase === 'draining'
  const revocations = revokedTokens(board.revocations)
  const lifetimes = new Lifetimes(config.identity.leeway, revocations)
  const limits = await openLimits(config, board, id, log.logger)
  const gateway = buildGateway(config, { ...limitEvents(options), ...events }, draining, {
    ...shared,
    revocations,
    signOut: signOutFrom(board.revocations, config.identity.leeway, () =>
      log.logger.error('A sign-out revoked nothing: there is no room for more revocations'),
    ),
    lifetimes,
    tickets: board.tickets,
    limits: limits.store,
  })
  const requests = board.counters.cell(id, 'requests')
  const connections = board.counters.cell(id, 'connections')
  let front: FrontDoor | null = null
  const receiver: Receiver & { shed: () => boolean } = {
    handle: gateway.handle,
    refuse: gateway.refuse,
    observers: [accessLog(log), () => requests.add(1)],
    draining,
    lifetimes,
    pace: { idle: server.bodyTimeout, minRate: server.minBodyRate },
    sendTimeout: server.sendTimeout,
    shed: shed ?? (() => false),
  }
  return {
    start: () => void gateway.start(),
    ready: gateway.ready,
    async listen(ports, reusePort) {
      front = await listen(receiver, {
        host: server.host,
        port: ports.plain,
        reusePort,
        tls: ports.tls === null ? null : tlsOptions(options, ports.tls),
        http2: server.http2,
        headerTimeout: server.headerTimeout,
        keepAliveTimeout: server.keepAliveTimeout,
        trusted: trustedProxies(server.trustedProxies),
        onRefused: refusal => {
          if (log.enabled('warning')) log.writeLine(refusedLine(refusal))
        },
        onFlooded: (peer, what) => log.logger.warn({ client_ip: peer, reason: `too many ${what}` }, FLOODED),
      })
      return front
    },
    publish() {
      connections.add((front?.connections ?? 0) - connections.value)
    },
    close: async () => {
      lifetimes.drain(server.drainTimeout)
      await front?.close(IDLE_GRACE)
      await limits.leave()
    },
    cut: () => front?.destroy(),
    release() {
      gateway.close()
      limits.close()
    },
  }
}

/** Once a day for each, however many workers see it. */
const TOLD_MS = 86_400_000

function limitEvents({ log: { logger }, board, id }: ServeOptions): LimitEvents {
  const refused = board.counters.cell(id, 'limited')
  const passed = board.counters.cell(id, 'wouldBeLimited')
  return {
    onViolated: enforced => (enforced ? refused : passed).add(1),
    onUnknownPlan(company, plan) {
      const now = Date.now()
      const key = board.limits.key(`unknown plan|${company}|${plan}`)
      if (board.limits.take(key, 1, 1, now + TOLD_MS, now) === true)
        logger.warn(
          { company_id: company, plan },
          'A token names a plan that does not exist: the default holds',
        )
    },
  }
}

const FLOODED = 'HTTP/2 connection closed'

/** Every thread looks after its own listener's certificate, and the first one speaks of it. */
function tlsOptions({ config, log: { logger }, id, ticketKeys }: ServeOptions, port: number): TlsOptions {
  const tls = config.server.tls!
  const speaks = id === 0
  return {
    ...tls,
    port,
    ticketKeys: ticketKeys ?? randomBytes(TICKET_KEY_BYTES),
    events: {
      onChanged(pair) {
        if (!speaks) return
        const { subject, validTo } = pair.leaf
        logger.info({ subject, valid_to: validTo }, 'Certificate replaced')
        const warning = validityWarning(pair)
        if (warning !== null) logger.warn(`The certificate in ${tls.cert} ${warning}`)
      },
      onUnusable({ file, message }) {
        if (speaks)
          logger.error(
            { file: tls[file], reason: message },
            'New certificate cannot be served: the old one stays',
          )
      },
      onHandshakesFailed(count, last) {
        logger.debug({ count, error: last }, 'TLS handshakes failed')
      },
    },
  }
}
