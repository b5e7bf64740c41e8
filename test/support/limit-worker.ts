/** Limits in Redis as one worker of a gateway has them, without the gateway. */

import type { RuleConfig } from '../../src/config/limits.ts'
import { redisSchema } from '../../src/config/redis.ts'
import type { Meter, Taken } from '../../src/limits/meter.ts'
import { RedisStore } from '../../src/limits/redis-store.ts'
import { compileRule } from '../../src/limits/rules.ts'
import { Slots } from '../../src/limits/slots.ts'
import { SharedCounters } from '../../src/store/shared-counters.ts'
import { WorkerCounters } from '../../src/store/worker-counters.ts'

const NAMES = { totals: ['local', 'waits', 'calls'], gauges: ['up'] } as const

/** One worker of a process; those with the same memory are of the same. */
export class TestWorker {
  readonly memory: SharedCounters
  readonly store: RedisStore
  readonly told: string[] = []
  readonly #counted = WorkerCounters.create(NAMES, 1)

  constructor(url: string, options: { memory?: SharedCounters; timeout?: number; ca?: string } = {}) {
    const { memory = SharedCounters.create({ capacity: 1_000 }), timeout = 0.3, ca } = options
    this.memory = memory
    const cell = (name: 'local' | 'waits' | 'calls' | 'up') => this.#counted.cell(0, name)
    this.store = new RedisStore({
      config: redisSchema.parse({ url, timeout, ca }),
      counters: memory,
      slots: new Slots(memory, new Int32Array(new SharedArrayBuffer(4))),
      cells: { local: cell('local'), waits: cell('waits'), calls: cell('calls'), up: cell('up') },
      events: {
        onDown: () => this.told.push('down'),
        onUp: () => this.told.push('up'),
        onRefused: reason => this.told.push(reason),
      },
    })
  }

  counted(name: 'local' | 'waits' | 'calls'): number {
    return this.#counted.sum(name)
  }

  meter(rule: Partial<RuleConfig>): Meter {
    return this.store.meter(compileRule({ ...RULE, ...rule }, 'UTC'), 'company:acme')
  }
}

const RULE: RuleConfig = {
  name: 'rule',
  limit: undefined,
  window: undefined,
  burst: undefined,
  concurrent: undefined,
  sockets: undefined,
  unit: 'requests',
  by: 'company',
  routes: undefined,
  dryRun: false,
}
/** Takes so much, and waits if it must. */
export const take = (meter: Meter, amount = 1): Promise<Taken> =>
  Promise.resolve(meter.take(amount, Date.now()))

/** How many of so many at once pass, by turns. */
export async function passing(meters: readonly Meter[], attempts: number): Promise<number> {
  const now = Date.now()
  const taken = await Promise.all(
    Array.from({ length: attempts }, (_, index) => meters[index % meters.length]!.take(1, now)),
  )
  return taken.filter(level => level >= 0).length
}
