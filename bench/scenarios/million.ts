import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { start } from '../process.ts'
import { figureOf, type Result, ratioOf, type Sample, withRange } from '../result.ts'
import type { Run } from '../run.ts'

const PROGRAM = fileURLToPath(new URL('../million-decisions.ts', import.meta.url))
const COMPANIES = 1_000_000
/** Rounds for each of the other scenarios': they take a second. */
const ROUNDS = 3

const LABELS: Record<string, string> = {
  hundred: 'a hundred companies, tokens known',
  million: 'a million companies, 16,384 tokens known',
  'million-seen': 'a million companies seen, a hundred of them asking',
  'hundred-new': 'a hundred companies, each token new',
  'million-new': 'a million companies, each token new',
  'hundred-memory': 'the memory of such a decision alone, a hundred places',
  'million-memory': 'the memory of such a decision alone, 200,000 places',
}

type Line = { nanoseconds?: Record<string, number>; state?: Record<string, number> }

/** Decisions of three rules by themselves, without a gateway around them. */
export async function million(run: Run): Promise<Result | null> {
  if (run.only !== null && !run.only.includes('gateway')) return null
  const program = start({
    name: 'million',
    directory: run.directory,
    core: run.cores.measured,
    command: [process.execPath, '--expose-gc', PROGRAM, String(COMPANIES), String(run.rounds * ROUNDS)],
  })
  await program.exited
  const lines = (await readFile(program.outputFile, 'utf8')).trim().split('\n')
  const found = lines.filter(Boolean).map(line => JSON.parse(line) as Line)
  const state = found.at(-1)?.state
  if (state === undefined) throw new Error(`no decisions were measured: ${program.complaint()}`)
  const samples: Sample[] = found.flatMap(({ nanoseconds = {} }, round) =>
    Object.entries(nanoseconds).map(([entry, value]) => ({
      entry,
      round: round + 1,
      figures: { nanoseconds: value, ...(entry === 'million' ? state : {}) },
    })),
  )
  return result(samples, state)
}

function result(samples: Sample[], state: Record<string, number>): Result {
  const few = (name: string): string =>
    name === 'million-seen' ? 'hundred' : name.replace('million', 'hundred')
  return {
    scenario: 'million',
    title: 'A million companies: decisions of three rules, and what is kept of them',
    table: {
      columns: ['', 'ns for each', 'over a hundred companies'],
      rows: Object.entries(LABELS).map(([name, label]) => [
        label,
        withRange(figureOf(samples, name, 'nanoseconds')!, 0),
        name === few(name) ? '' : withRange(ratioOf(samples, name, few(name), 'nanoseconds')!, 2),
      ]),
    },
    notes: [
      'A decision is all that limits do to a request: the rules of its company, three counters, and the fields of the answer. Reading the identity, or making it of a token, is what authentication does before, and is not part of it. All are measured in turns in one ' +
        'process; ratios are formed round by round. Whoever comes with a token that is not in the memory for verified tokens has it verified first, which costs ten times as much.',
      `State: ${state.megabytes!.toFixed(0)} MB, of which the table has ${state.tableMegabytes!.toFixed(0)} MB: resident memory after a million companies that came within an hour, each with a quota of the month and ` +
        'two rates. Rates are forgotten when they are full again, so only the quota is kept of a company that is idle. ' +
        `Were all of them to ask within the same minute, a table for three counters of each would take ${state.minuteMegabytes!.toFixed(0)} MB.`,
      `${state.lost} of their counters found no place. When all had been idle until the next month, a million others came: ${state.left} of theirs found none, in the same table.`,
      'Memory alone reads as many cache lines at random as the counters of a decision lie in: what of the difference no program could save that keeps a million.',
    ],
    faults: [],
    chart: {
      title: 'A decision of three rules',
      unit: 'ns',
      bars: Object.entries(LABELS).map(([name, label]) => {
        const { median, least, most } = figureOf(samples, name, 'nanoseconds')!
        return { label, value: median, low: least, high: most, own: name === 'million' }
      }),
    },
    samples,
  }
}
