/** Gateways with limits that nobody reaches: what deciding costs, and not what refusing saves. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Contender } from '../contender.ts'
import { missingPackages } from '../packages.ts'
import { freePort, ready, start } from '../process.ts'
import { type GatewayChoice, gateway, ROOT } from './gateway.ts'

/** A rate with a burst, a rate over a minute, and a quota of the month. */
export const THREE_RULES = {
  defaultPlan: 'plan',
  plans: {
    plan: {
      rules: [
        { name: 'burst', limit: 1_000_000, window: 1 },
        { name: 'sustained', limit: 30_000_000, window: 60 },
        { name: 'month', limit: 1_000_000_000_000, window: 'month' },
      ],
    },
  },
}

/** The same gateway, with its limits in a Redis of its own, which shares the core of the load. */
export function sharing(contender: Contender, choice: GatewayChoice): Contender {
  const { name } = contender
  return {
    ...contender,
    missing: async () => {
      if (!existsSync(join(ROOT, 'src/limits/redis-store.ts')))
        return 'this checkout keeps no limits in Redis'
      return (await missingPackages(['redis-server'])) ?? contender.missing()
    },
    start: async setting => {
      const port = await freePort()
      const redis = start({
        name: `${name}.redis`,
        directory: setting.directory,
        core: setting.cores.load,
        command: ['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--save', ''],
      })
      await ready(redis, port)
      const config = { ...choice.config, redis: { url: `redis://127.0.0.1:${port}` } }
      const running = await gateway({ ...choice, name, upstream: {}, config }).start(setting)
      const { process } = running
      const stop: typeof process.stop = async signal => {
        await process.stop(signal)
        await redis.stop()
      }
      return { ...running, process: { ...process, stop } }
    },
  }
}
