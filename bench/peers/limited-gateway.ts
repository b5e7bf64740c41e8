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

export type LimitedRoute = 'none' | 'rules' | 'queue'

const BASE = '/api/v1'
export const LIMITED_PATHS: Readonly<Record<LimitedRoute, string>> = {
  none: `${BASE}/query/echo-small`,
  rules: `${BASE}/rules/echo-small`,
  queue: `${BASE}/queue/echo-small`,
}
/** Far more than there are connections: the queue finds its slots free, and the limit stays where it is. */
const SLOTS = 256

/** One process, and routes that differ in what stands in front of the same service. */
export function limitedGateway(choice: GatewayChoice): Contender {
  return gateway({ ...choice, config: limitedConfig(choice) })
}

function limitedConfig({ config }: GatewayChoice): (url: string) => Record<string, unknown> {
  const rules = THREE_RULES.plans.plan.rules.map(rule => ({ ...rule, routes: ['rules'] }))
  return url => ({
    upstreams: { plain: { url }, queued: { url, fairQueue: { minConcurrency: SLOTS } } },
    routes: [
      { name: 'none', path: `${BASE}/query/*`, upstream: 'plain' },
      { name: 'rules', path: `${BASE}/rules/*`, upstream: 'plain' },
      { name: 'queue', path: `${BASE}/queue/*`, upstream: 'queued' },
    ],
    limits: { ...THREE_RULES, plans: { plan: { rules } } },
    ...config?.(url),
  })
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
      const config = () => ({ redis: { url: `redis://127.0.0.1:${port}` } })
      const running = await limitedGateway({ ...choice, name, config }).start(setting)
      const { process } = running
      const stop: typeof process.stop = async signal => {
        await process.stop(signal)
        await redis.stop()
      }
      return { ...running, process: { ...process, stop } }
    },
  }
}
