import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

export const SCENARIOS = ['small', 'transfer', 'startup'] as const
export type Scenario = (typeof SCENARIOS)[number]

export type Options = {
  scenarios: Scenario[]
  rounds: number
  seconds: number
  mebibytes: number
  /** Null: those that a scenario chooses by itself. */
  contenders: string[] | null
  /** Run the gateway from src/ instead of the bundle that `npm start` runs. */
  sources: boolean
  profile: boolean
  /** Null: nothing is written. */
  results: string | null
  help: boolean
}

export const HELP = `Usage: npm run bench -- [options]

  --only NAMES        of ${SCENARIOS.join(', ')} (default: all of them)
  --contenders NAMES  of gateway, haproxy-log, haproxy, nginx, nginx-njs, fastify, fastify-log
                      (default: all; the gateway alone in "transfer")
  --rounds N          rounds in "small" (default 5)
  --seconds N         length of one turn in "small" (default 3)
  --mebibytes N       size of a body in "transfer" (default 1024)
  --sources           run the gateway from src/ instead of the bundle that "npm start" runs
  --profile           run "small" on the gateway alone under the CPU profiler, print the 25
                      functions with the longest self time, write nothing
  --results DIR       where results go (default bench/results; a run with --contenders writes
                      only when this is given, so that a part never replaces the whole)
  --help

Names are separated by commas. Debian packages that are absent are installed when this runs as root.
`

/** Throws an error that says what is wrong with the command line. */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string' },
      contenders: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      mebibytes: { type: 'string', default: '1024' },
      results: { type: 'string' },
      sources: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const partial = values.contenders !== undefined || values.profile
  return {
    scenarios: values.profile ? ['small'] : scenarios(values.only),
    rounds: positive('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    mebibytes: positive('mebibytes', values.mebibytes),
    contenders: values.contenders?.split(',') ?? null,
    sources: values.sources,
    profile: values.profile,
    results: values.results ?? (partial ? null : fileURLToPath(new URL('results', import.meta.url))),
    help: values.help,
  }
}

function scenarios(only: string | undefined): Scenario[] {
  if (only === undefined) return [...SCENARIOS]
  const names = only.split(',')
  const unknown = names.find(name => !SCENARIOS.includes(name as Scenario))
  if (unknown !== undefined) throw new Error(`there is no scenario "${unknown}"`)
  return SCENARIOS.filter(name => names.includes(name))
}

function positive(name: string, value: string): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} must be a whole number above 0`)
  return number
}
