/** A running gateway: front door, admin port, log, and the way down. */

import { type AdminServer, startAdmin } from './admin/server.ts'
import type { GatewayConfig } from './config/schema.ts'
import { trustedProxies } from './edge/client-address.ts'
import { type FrontDoor, listen } from './edge/listen.ts'
import { buildGateway } from './gateway.ts'
import { urlOf } from './listening.ts'
import { accessLog, refusedLine } from './telemetry/access-log.ts'
import { type Log, openLog } from './telemetry/log.ts'

export interface RunningGateway {
  readonly url: string
  readonly adminUrl: string | null
  readonly log: Log
  /** Turns unready, stops accepting, finishes what is in flight within the drain time, ends the rest. */
  close(): Promise<void>
}

/** Seconds that idle client connections stay open while draining. */
const IDLE_GRACE = 1

/**
 * Starts a gateway.
 * @param config from `loadConfig`
 * @throws when a port cannot be listened on; nothing is left running then
 */
export async function startGateway(
  config: GatewayConfig,
  log: Log = openLog(config.log),
): Promise<RunningGateway> {
  const { server } = config
  const { logger } = log
  let state: 'starting' | 'running' | 'draining' = 'starting'
  const draining = (): boolean => state === 'draining'
  const gateway = buildGateway(
    config,
    {
      onKeysFailed: error => logger.error({ error }, 'JWKS could not be fetched'),
      onKeysChanged: keys => logger.info({ keys }, 'JWKS fetched'),
    },
    draining,
  )
  const ready = (): boolean => state === 'running' && gateway.ready()
  const receiver = {
    handle: gateway.handle,
    refuse: gateway.refuse,
    observers: [accessLog(log)],
    draining,
    pace: { idle: server.bodyTimeout, minRate: server.minBodyRate },
    sendTimeout: server.sendTimeout,
  }
  // The keys are fetched while the door opens; until they are here, /ready says so and requests that need them wait.
  void gateway.start()
  let front: FrontDoor
  let admin: AdminServer | null
  try {
    front = await listen(receiver, {
      host: server.host,
      port: server.port,
      headerTimeout: server.headerTimeout,
      keepAliveTimeout: server.keepAliveTimeout,
      trusted: trustedProxies(server.trustedProxies),
      onRefused: refusal => {
        if (log.enabled('warning')) log.writeLine(refusedLine(refusal))
      },
    })
  } catch (error) {
    gateway.close()
    throw error
  }
  try {
    admin =
      config.admin.port === 'off' ? null : await startAdmin(config, { ready, draining }, config.admin.port)
  } catch (error) {
    front.destroy()
    await front.close(0)
    gateway.close()
    throw error
  }
  state = 'running'
  const url = urlOf(server.host, front.port)
  logger.info(
    { url, admin_url: admin?.url ?? null, pid: process.pid, routes: config.routes.length },
    'Gateway listening',
  )

  return {
    url,
    adminUrl: admin?.url ?? null,
    log,
    async close() {
      if (state === 'draining') return
      state = 'draining'
      logger.info({ delay: server.drainDelay, timeout: server.drainTimeout }, 'Gateway draining')
      await seconds(server.drainDelay)
      const closed = front.close(IDLE_GRACE)
      const inTime = await within(server.drainTimeout, closed)
      if (!inTime) {
        logger.warn('Drain time is over: open exchanges are cut')
        front.destroy()
        await closed
      }
      await admin?.close()
      gateway.close()
      logger.info('Gateway stopped')
      log.flush()
    },
  }
}

function seconds(time: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, time * 1000))
}

async function within(time: number, work: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>(resolve => {
    timer = setTimeout(() => resolve(false), time * 1000)
  })
  const inTime = await Promise.race([work.then(() => true), late])
  clearTimeout(timer)
  return inTime
}
