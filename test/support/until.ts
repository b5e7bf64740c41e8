/** Waiting for what has no event of its own, bounded in time. */

import { setTimeout as delay } from 'node:timers/promises'

/**
 * Tries again, a little later each time, until `attempt` gives something other than undefined or false.
 * @throws the last failure, or "never …", after `within` ms (10,000)
 */
export async function until<T>(
  what: string,
  attempt: () => Promise<T | undefined | false> | T | undefined | false,
  within = 10_000,
): Promise<T> {
  const end = Date.now() + within
  let failure: unknown
  for (let pause = 10; Date.now() < end; pause = Math.min(pause * 2, 200)) {
    try {
      const result = await attempt()
      if (result !== undefined && result !== false) return result
    } catch (thrown) {
      failure = thrown
    }
    await delay(pause)
  }
  throw new Error(`never: ${what}`, { cause: failure })
}
