import type { Logger } from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import type { RedisLink } from './link.ts'

/**
 * The link of the main thread, for all that it asks of Redis; null: none is configured, and none of its code is loaded.
 * Returns before it is known whether Redis is there.
 */
export async function openMainLink(
  { redis }: GatewayConfig,
  logger: Pick<Logger, 'debug'>,
): Promise<RedisLink | null> {
  if (redis === undefined) return null
  const { RedisLink } = await import('./link.ts')
  return new RedisLink(redis, {
    // Those who serve tell it to everybody: see workers/open-limits.ts
    onDown: reason => logger.debug({ reason }, 'The main thread has lost Redis'),
    onUp: () => logger.debug('The main thread has Redis'),
  })
}
