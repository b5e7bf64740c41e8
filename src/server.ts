/** A running gateway: front door, admin port, log, and the way down. */

import { type AdminServer, startAdmin } from './admin/server.ts'
import { queuedUpstreams } from './admission/queued.ts'
import type { Loaded } from './config/load.ts'
import type { GatewayConfig } from './config/schema.ts'
import type { FrontDoor } from './edge/listen.ts'
import { Calendar } from './limits/calendar.ts'
import { urlOf } from './listening.ts'
import { type Log, openLog } from './telemetry/log.ts'
import { usageRecorder } from './usage/recorder.ts'
import { Board } from './workers/board.ts'
import { drain, within } from './workers/drain.ts'
import { openMainParts } from './workers/main-parts.ts'
import { Reloader, type ReloadOutcome } from './workers/reload.ts'
import { serve } from './workers/serve.ts'

/** Seconds to write down what was counted when the end is forced. */
const ABANDON_GRACE = 0.2

export interface RunningGateway {
  readonly url: string
  /** With a certificate: HTTP/1.1 and HTTP/2 over TLS. */
  readonly tlsUrl: string | null
  readonly adminUrl: string | null
  readonly log: Log
  /**
   * Loads the configuration again and goes on with it; with the old one if there is anything wrong with the new. Never
   * rejects. Asked for while one is under way, another follows.
   */
  reload(): Promise<ReloadOutcome>
  /** Turns unready, stops accepting, finishes what is in flight within the drain time, ends the rest. */
  close(): Promise<void>
  /** For an end without delay: writes out the log, leaves the rest to the end of the process. */
  abandon(): Promise<void>
}

/**
 * Starts a gateway in this thread. Several workers are a matter of the command line, since each thread loads the config
 * file by itself: a configuration that asks for them here gets one, and a warning.
 * @param config from `loadConfig`
 * @param load the way to load it again, for `reload`
 * @throws when a port cannot be listened on; nothing is left running then
 */
export async function startGateway(
  config: GatewayConfig,
  log?: Log,
  load?: () => Promise<Loaded>,
): Promise<RunningGateway> {
  const gateway = await startAlone(config, load ?? null, log)
  const { workers } = config.server
  if (workers !== 'auto' && workers > 1) {
    gateway.log.logger.warn(
      `server.workers is ${workers}, but only nyro-gateway start makes threads: this one serves alone`,
    )
  }
  return gateway
}

/** Starts a gateway whose one worker is this thread, whatever the configuration says. */
export async function startAlone(
  config: GatewayConfig,
  load: (() => Promise<Loaded>) | null,
  log: Log = openLog(config.log),
): Promise<RunningGateway> {
  const { server } = config
  const { logger } = log
  const board = Board.create(1, { limitKeys: config.limits?.maxKeys, queued: queuedUpstreams(config) })
  const parts = await openMainParts(config, logger, board.revocations, 0)
  const { blocking, revoking, usage } = parts
  const quotas = parts.keepQuotas(board.limits)
  const serving = await serve({
    config,
    log,
    board,
    blocks: blocking.blocks,
    id: 0,
    onRevoked: revoking === null ? undefined : revocation => revoking.note(revocation),
    onQuotas: quotas === null ? undefined : names => quotas.note(names),
    events: {
      onKeysFailed: error => logger.error({ error }, 'JWKS could not be fetched'),
      onKeysChanged: keys => logger.info({ keys }, 'JWKS fetched'),
    },
    usage:
      usage === null ? null : usageRecorder(usage.ledger.totals, new Calendar('day', usage.ledger.timeZone)),
  })
  // The keys are fetched while the door opens; until they are here, /ready says so and requests that need them wait.
  serving.start()
  await parts.prepared()
  let front: FrontDoor
  let admin: AdminServer | null = null
  try {
    front = await serving.listen({ plain: server.port, tls: server.tls?.port ?? null }, false)
  } catch (error) {
    serving.release()
    await parts.close()
    throw error
  }
  const reloader = new Reloader({
    config,
    log,
    load,
    stopping: () => board.phase === 'draining',
    async prepare(next) {
      const queued = queuedUpstreams(next)
      board.admission.add(queued)
      const { swap, discard } = await serving.prepare(next)
      const takeOver = async (): Promise<void> => {
        await swap()
        board.admission.show(queued)
        admin?.describe(next)
      }
      return { swap: takeOver, discard }
    },
  })
  const startedAt = performance.now()
  try {
    admin =
      config.admin.port === 'off'
        ? null
        : await startAdmin(
            config,
            {
              ready: () => board.phase === 'running' && serving.ready(),
              draining: () => board.phase === 'draining',
              workers() {
                serving.publish()
                board.setState(0, serving.ready() ? 'ready' : 'listening')
                return [{ id: 0, restarts: 0, uptime: (performance.now() - startedAt) / 1000 }]
              },
              board,
              blocking,
              revoking,
              usage: usage?.ledger ?? null,
              reload: () => reloader.reload(),
            },
            config.admin.port,
          )
  } catch (error) {
    serving.cut()
    await serving.close()
    serving.release()
    await parts.close()
    throw error
  }
  board.phase = 'running'
  const { plain, tls } = front.ports
  const url = urlOf(server.host, plain)
  const tlsUrl = tls === null ? null : urlOf(server.host, tls, 'https')
  logger.info(
    {
      url,
      ...(tlsUrl === null ? {} : { tls_url: tlsUrl }),
      admin_url: admin?.url ?? null,
      pid: process.pid,
      routes: config.routes.length,
      workers: 1,
    },
    'Gateway listening',
  )

  return {
    url,
    tlsUrl,
    adminUrl: admin?.url ?? null,
    log,
    reload: () => reloader.reload(),
    async close() {
      if (board.phase === 'draining') return
      await drain(reloader.config, board, log, serving)
      await admin?.close()
      serving.release()
      await parts.close()
      logger.info('Gateway stopped')
      await log.finish()
    },
    async abandon() {
      await within(ABANDON_GRACE, parts.close())
      log.flush()
    },
  }
}
