import type { Policy } from '../exchange.ts'
import { problemReply } from '../problem.ts'

/** Turns what the policies below throw into problem answers, so that those above see replies only. */
export function problems(): Policy {
  return function problems(exchange, next) {
    try {
      const reply = next(exchange)
      return reply instanceof Promise ? reply.catch(thrown => problemReply(exchange, thrown)) : reply
    } catch (thrown) {
      return problemReply(exchange, thrown)
    }
  }
}
