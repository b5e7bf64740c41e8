/**
 * What serves in one thread, be it one of several workers or the only one: a gateway and, once told so, its front door.
 * Another configuration has another gateway built, behind the same door.
 */

import { randomBytes } from 'node:crypto'
import { TICKET_KEY_BYTES, validityWarning } from '../certificate.ts'
import { changesBetween } from '../changes.ts'
import type { GatewayConfig } from '../config/schema.ts'
import { trustedProxies } from '../edge/client-address.ts'
import { type DoorSettings, type FrontDoor, listen } from '../edge/listen.ts'
import type { Receiver } from '../edge/receive.ts'
import type { TlsOptions } from '../edge/tls.ts'
import type { ExchangeObserver, RouteInfo } from '../exchange.ts'
import { buildGateway, type Gateway, type KeyEvents, type Shared } from '../gateway.ts'
import type { KeySource } from '../identity/key-source.ts'
import { Lifetimes } from '../lifetimes.ts'
import type { LimitEvents } from '../limits/limits.ts'
import type { Ports } from '../listening.ts'
import type { AskedBlocks } from '../store/blocks.ts'
import type { Revocation } from '../store/revocation.ts'
import { accessLog, refusedLine } from '../telemetry/access-log.ts'
import type { Log } from '../telemetry/log.ts'
import type { QuotaName } from '../usage/quota-keeper.ts'
import type { Board } from './board.ts'

import { openLimits } from './open-limits.ts'
import { openTickets } from './open-tickets.ts'

import { quotaNews } from './quota-news.ts'

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
  /**
   * Builds what serves another configuration, whose keys are fetched already when this resolves; nothing changes yet.
   * @param keys where another JWKS has other keys come from
   * @throws what keeps it from serving
   */
  prepare(config: GatewayConfig, keys?: KeySource): Promise<Prepared>
}

/** Ready to take over: one of the two follows. */
export interface Prepared {
  /** New requests go to it from now on, at the latest when this resolves. Those in flight end as they began. */
  swap(): void | Promise<void>
  discard(): void
}

export interface ServeOptions {
  readonly config: GatewayConfig
  readonly log: Log
  readonly board: Board
  readonly blocks: AskedBlocks
  readonly id: number
  readonly events: KeyEvents
  readonly shared?: Omit<Shared, 'limits' | 'seat'>
  /** Whether to ask a client to come back through another connection. */
  readonly shed?: (openedAt: number) => boolean
  /** Told of quotas that this thread begins to use. */
  readonly onQuotas?: ((names: readonly QuotaName[]) => void) | undefined
  /** For TLS sessions that are to be resumed with other threads; default: some of its own. */
  readonly ticketKeys?: Buffer
  /** Told what sign-outs have revoked in this process, for other gateways. */
  readonly onRevoked?: ((revocation: Revocation) => void) | undefined
  /** Counts usage; null: nobody does. */
  readonly usage?: ExchangeObserver | null
}

interface Generation {
  readonly config: GatewayConfig
  readonly gateway: Gateway
}

export async function serve(options: ServeOptions): Promise<Serving> {
  const { log, board, blocks, id, events, shared, shed, usage = null } = options
  const draining = (): boolean => board.phase === 'draining'
  const revocations = revokedTokens(board.revocations)
  const lifetimes = new Lifetimes(options.config.identity.leeway, revocations, blocks)
  const onQuota = options.onQuotas === undefined ? undefined : quotaNews(options.onQuotas)
  const limits = await openLimits({ config: options.config, board, id, logger: log.logger, onQuota })
  const tickets = await openTickets(limits.link, board, log.logger)
  const gatewayEvents = { ...limitEvents(options), ...events }
  const requests = board.counters.cell(id, 'requests')
  const connections = board.counters.cell(id, 'connections')
  const observers = [accessLog(log), () => requests.add(1), ...(usage === null ? [] : [usage])]
  const seat = { admission: board.admission, worker: id, gates: new Map() }
  let front: FrontDoor | null = null
  let current = generationOf(options.config, shared?.keys, null)

  function generationOf(
    config: GatewayConfig,
    keys: KeySource | undefined,
    before: Gateway | null,
  ): Generation {
    const all = {
      ...shared,
      keys,
      revocations,
      blocks,
      signOut: signOutFrom(
        board.revocations,
        config.identity.leeway,
        () => log.logger.error('A sign-out revoked nothing: there is no room for more revocations'),
        options.onRevoked,
      ),
      lifetimes,
      tickets,
      limits: limits.store,
      seat,
    }
    return { config, gateway: buildGateway(config, gatewayEvents, draining, all, before?.parts ?? null) }
  }

  function receiverOf({ config: { server }, gateway: { handle, refuse } }: Generation): Receiver {
    return {
      handle,
      refuse,
      observers,
      draining,
      lifetimes,
      pace: { idle: server.bodyTimeout, minRate: server.minBodyRate },
      sendTimeout: server.sendTimeout,
      shed: shed ?? (() => false),
    }
  }

  /** @param successors of the routes so far, in their order */
  function takeOver(next: Generation, successors: readonly (RouteInfo | null)[]): void {
    const { gateway } = current
    const { identity, server, log: wanted } = next.config
    current = next
    next.gateway.takeOver()
    front?.replace(receiverOf(next), doorSettings(next.config))
    const pairs = gateway.routes.map((route, index) => [route, successors[index] ?? null] as const)
    lifetimes.replaceRoutes(pairs, { leeway: identity.leeway, seconds: server.drainTimeout })
    gateway.close(next.gateway)
    log.setLevel(wanted.level)
  }

  /** The same routes in another generation. */
  function successorsIn({ config, gateway }: Generation): (RouteInfo | null)[] {
    const { successors } = changesBetween(
      { config: current.config, endpoints: current.gateway.parts.endpoints },
      { config, endpoints: gateway.parts.endpoints },
    )
    return successors.map(place => (place === null ? null : gateway.routes[place]!))
  }

  return {
    start: () => void current.gateway.start(),
    ready: () => current.gateway.ready(),
    async listen(ports, reusePort) {
      const { server } = current.config
      front = await listen(receiverOf(current), {
        ...doorSettings(current.config),
        host: server.host,
        port: ports.plain,
        reusePort,
        tls: ports.tls === null ? null : tlsOptions(options, ports.tls),
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
      lifetimes.drain(current.config.server.drainTimeout)
      await front?.close(IDLE_GRACE)
      await limits.leave()
    },
    cut: () => front?.destroy(),
    release() {
      current.gateway.close()
      limits.close()
    },
    async prepare(config, keys) {
      const before = current.gateway
      const next = generationOf(config, keys, before)
      await next.gateway.start()
      // One that is without keys already has nothing to lose
      if (before.ready() && !next.gateway.ready()) {
        next.gateway.close(before)
        throw new Error('its keys (identity.jwks) could not be fetched')
      }
      const successors = successorsIn(next)
      return { swap: () => takeOver(next, successors), discard: () => next.gateway.close(before) }
    },
  }
}

/** Once a day for each, however many workers see it. */
const TOLD_MS = 86_400_000
/** Companies in a day: behind so many it is the plan that is wrong, and each takes a counter that a limit may need. */
const MAX_TOLD = 100

function limitEvents({ log: { logger }, board, id }: ServeOptions): LimitEvents {
  const refused = board.counters.cell(id, 'limited')
  const passed = board.counters.cell(id, 'wouldBeLimited')
  return {
    onViolated: enforced => (enforced ? refused : passed).add(1),
    onUnknownPlan(company, plan) {
      const { limits } = board
      const now = Date.now()
      const end = now + TOLD_MS
      const key = limits.key(`unknown plan|${company}|${plan}`)
      if (
        limits.read(key, now) > 0 ||
        limits.take(limits.key('unknown plans'), 1, MAX_TOLD, end, now) !== true
      )
        return
      if (limits.take(key, 1, 1, end, now) === true)
        logger.warn(
          { company_id: company, plan },
          'A token names a plan that does not exist: the default holds',
        )
    },
  }
}

function doorSettings({ server }: GatewayConfig): DoorSettings {
  const { http2, headerTimeout, keepAliveTimeout } = server
  return { http2, headerTimeout, keepAliveTimeout, trusted: trustedProxies(server.trustedProxies) }
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
