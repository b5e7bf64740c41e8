import type { Log } from '../telemetry/log.ts'

/** A fault that escaped its exchange is logged; the other exchanges of this thread go on. */
export function surviveFaults(log: Log): void {
  const report = (kind: string) => (error: unknown) => {
    log.logger.fatal({ error, stack: error instanceof Error ? error.stack : undefined }, kind)
  }
  process.on('uncaughtException', report('Uncaught exception'))
  process.on('unhandledRejection', report('Unhandled rejection'))
  process.on('exit', () => log.flush())
}
