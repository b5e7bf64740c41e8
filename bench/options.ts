import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { PEERS } from './field.ts'
import { SCENARIOS } from './scenarios/index.ts'

export const RESULTS = fileURLToPath(new URL('results', import.meta.url))

export type Options = {
  scenarios: string[]
  rounds: number
  seconds: number
  warmUp: number
  mebibytes: number
  lasting: number
  /** Null: those that a scenario chooses by itself. */
  contenders: string[] | null
  /** Run the gateway from src/ instead of the bundle that `npm start` runs. */
  sources: boolean
  profile: boolean
  /** Only make the pages from results that exist. */
  report: boolean
  /** Revision to compare with. */
  against: string | null
  /** How much slower than that revision is still no regression: 0.1 for 10 %. */
  tolerance: number
  /** Null: nothing is written. */
  results: string | null
  help: boolean
}

const NAMES = Object.keys(SCENARIOS)
/** What a comparison of two revisions looks at unless told otherwise. */
const COMPARED = ['small', 'post-10k', 'refused']

export const HELP = `Usage: npm run bench -- [options]

  --only NAMES        of ${NAMES.slice(0, 7).join(', ')},
                      ${NAMES.slice(7).join(', ')} (default: all of them)
  --contenders NAMES  of gateway, ${PEERS.slice(0, 7)
    .map(({ name }) => name)
    .join(', ')},
                      ${PEERS.slice(7)
                        .map(({ name }) => name)
                        .join(', ')}, or entries of a scenario
                      (default: those that each scenario names)
  --rounds N          rounds of each scenario (default 5)
  --seconds N         length of one turn (default 3)
  --warm-up N         seconds of load before the first turn (default 4)
  --mebibytes N       size of a body in "transfer" (default 1024)
  --lasting N         connections held open in "sockets" (default 8000)
  --sources           run the gateway from src/ instead of the bundle that "npm start" runs
  --against REV       compare this checkout with another revision, in turns; fails when it is slower
  --tolerance SHARE   by how much it may be slower: 0.1 for 10 % (default 0.1)
  --profile           run "small" on the gateway alone under the CPU profiler, print the 25
                      functions with the longest self time, write nothing
  --report            measure nothing, make the pages from the results that exist
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
      'warm-up': { type: 'string', default: '4' },
      mebibytes: { type: 'string', default: '1024' },
      lasting: { type: 'string', default: '8000' },
      results: { type: 'string' },
      against: { type: 'string' },
      tolerance: { type: 'string', default: '0.1' },
      sources: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      report: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const against = values.against ?? null
  const partial = values.contenders !== undefined || values.profile || against !== null
  return {
    scenarios: values.profile ? ['small'] : scenarios(values.only ?? (against ? COMPARED.join() : undefined)),
    rounds: positive('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    warmUp: positive('warm-up', values['warm-up']),
    mebibytes: positive('mebibytes', values.mebibytes),
    lasting: positive('lasting', values.lasting),
    contenders: values.contenders?.split(',') ?? null,
    sources: values.sources,
    profile: values.profile,
    report: values.report,
    against,
    tolerance: share(values.tolerance),
    results: values.results ?? (partial ? null : RESULTS),
    help: values.help,
  }
}

function scenarios(only: string | undefined): string[] {
  if (only === undefined) return NAMES
  const names = only.split(',')
  const unknown = names.find(name => !NAMES.includes(name))
  if (unknown !== undefined) throw new Error(`there is no scenario "${unknown}"`)
  return NAMES.filter(name => names.includes(name))
}

function positive(name: string, value: string): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} must be a whole number above 0`)
  return number
}

function share(value: string): number {
  const number = Number(value)
  if (!(number > 0 && number < 1)) throw new Error('--tolerance must lie between 0 and 1')
  return number
}
