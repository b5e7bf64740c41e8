import { prepareLoad } from './generate.ts'
import type { Expected, Question, Seen } from './question.ts'
import type { TokenSource } from './tokens.ts'
import { type WrkLoad, wrk } from './wrk.ts'

/** Requests that differ from one another, which wrk cannot make fast enough. */
export type VariedLoad = {
  kind: 'varied'
  connections: number
  path: string
  /** How many paths `{n}` in `path` stands for. */
  paths: number
  tokens: TokenSource
  expected: Expected
  /** Requests in a turn, for each second that other loads take. */
  perSecond: number
}

export type Load = WrkLoad | VariedLoad

/**
 * Prepares one turn; the returned function runs it.
 * @param before seconds of this load that there were already: what must be unseen goes on where they ended
 */
export async function drive(
  load: Load,
  port: number,
  seconds: number,
  before: number,
  core: string | null,
): Promise<() => Promise<Seen>> {
  if (load.kind === 'wrk') return () => wrk(load, port, seconds, core)
  const requests = load.perSecond * seconds
  const { go } = await prepareLoad({
    ...load,
    port,
    first: before * load.perSecond,
    pace: { kind: 'closed', requests },
  })
  return go
}

/** One question of a load, and what must come back. */
export function questionOf(load: Load): [Question, Expected] {
  if (load.kind === 'wrk') return [load.question, load.expected]
  const { path, tokens, expected } = load
  const token = expected.status === 200 && tokens.kind !== 'none'
  return [{ method: 'GET', path: path.replace('{n}', '0'), token }, expected]
}
