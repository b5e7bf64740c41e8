/** The way down, the same for one worker and for several. */

import { setTimeout as delay } from 'node:timers/promises'
import type { GatewayConfig } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Board } from './board.ts'

export interface Drainable {
  /** Stops accepting; resolves when everything that was open has ended. */
  close(): Promise<void>
  /** Ends what is still open, whereupon `close` resolves. */
  cut(): void
}

/** Turns unready, stops accepting, finishes what is in flight within the drain time, ends the rest. */
export async function drain(
  { server }: GatewayConfig,
  board: Board,
  log: Log,
  serving: Drainable,
): Promise<void> {
  board.phase = 'draining'
  log.logger.info({ delay: server.drainDelay, timeout: server.drainTimeout }, 'Gateway draining')
  await delay(server.drainDelay * 1000)
  const closed = serving.close()
  if (await within(server.drainTimeout, closed)) return
  log.logger.warn('Drain time is over: open exchanges are cut')
  serving.cut()
  await closed
}

/** @returns whether the work ended within so many seconds */
export async function within(seconds: number, work: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController()
  const late = delay(seconds * 1000, false, { signal: timer.signal }).catch(() => false)
  const inTime = await Promise.race([work.then(() => true), late])
  timer.abort()
  return inTime
}
