import type { Outcome, Plan } from './plan.ts'
import { type Prepared, prepareProgram } from './program.ts'

const GENERATOR = new URL('generator.ts', import.meta.url)

/** Starts a generator and lets it prepare its requests. */
export function prepareLoad(plan: Plan): Promise<Prepared<Outcome>> {
  return prepareProgram(GENERATOR, plan)
}

/** Prepares and runs in one go. */
export async function generate(plan: Plan): Promise<Outcome> {
  const { go } = await prepareLoad(plan)
  return go()
}
