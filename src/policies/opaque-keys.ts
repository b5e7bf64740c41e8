import type { Policy } from '../exchange.ts'

/** However badly it is written: a server behind may read it all the same. */
const OPAQUE_KEY = /^bearer\s+sb_/i

/**
 * supabase-js repeats its opaque API key as a bearer while nobody is signed in. It is no token, and no service may
 * learn it that way: the header stays behind. Routes that require a token have refused it before.
 */
export function opaqueKeys(): Policy {
  return function opaqueKeys(exchange, next) {
    if (exchange.headers.getAll('authorization').some(value => OPAQUE_KEY.test(value))) {
      exchange.upstreamHeaders.remove('authorization')
    }
    return next(exchange)
  }
}
