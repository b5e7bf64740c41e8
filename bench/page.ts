import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PEERS } from './field.ts'
import { goalTable, judge } from './goals.ts'
import { machineLine } from './machine.ts'
import { insertTables } from './marked.ts'
import { gateway, ROOT } from './peers/gateway.ts'
import { type Kept, readResults, table } from './report.ts'
import { SCENARIOS } from './scenarios/index.ts'

const MARKED_DOCUMENTS = ['README.md', 'README.es.md', 'docs/architecture.md']

const DUTY_WORDS = {
  answer: 'answers by itself',
  forward: 'forwards only',
  token: 'verifies tokens',
  identity: 'verifies tokens, asks for a company, tells the upstream who calls',
}

/** Makes `docs/performance.md` and the tables in other documents from the results of a directory. */
export async function writePages(directory: string): Promise<void> {
  const results = await readResults(directory, Object.keys(SCENARIOS))
  if (results.length === 0) throw new Error(`${directory} holds no results: run the benchmark first`)
  await writeFile(join(ROOT, 'docs/performance.md'), page(results))
  const tables = new Map(results.map(({ scenario, table }) => [scenario, table]))
  for (const name of MARKED_DOCUMENTS) {
    const file = join(ROOT, name)
    await writeFile(file, insertTables(await readFile(file, 'utf8'), tables))
  }
}

/** The whole page. Charts lie beside the results; the page shows them from there. */
export function page(results: Kept[]): string {
  const verdicts = judge(results)
  const reached = verdicts.filter(verdict => verdict.reached).length
  const missing = Object.keys(SCENARIOS).filter(name => !results.some(({ scenario }) => scenario === name))
  return [
    '# Performance',
    '<!-- Made by `npm run bench`; `npm run bench -- --report` makes it anew from bench/results. Do not edit. -->',
    'What the gateway costs, beside others that do the same work on the same machine at the same time.',
    '## Goals',
    'Medians over the rounds of one run; ratios are formed within a round. Everything that is on by default is on, ' +
      `the access log too. ${reached} of ${verdicts.length} are reached.`,
    table(goalTable(verdicts)),
    METHOD,
    '## Where it was measured',
    [...new Set(results.map(({ machine }) => machineLine(machine)))].join('\n\n'),
    `Measured ${days(results)}.`,
    missing.length === 0 ? '' : `Not measured there: ${missing.join(', ')}.`,
    '## Who takes part',
    table({
      columns: ['', 'its work', 'access log', 'set up'],
      rows: [gateway({ sources: false }), ...PEERS].map(({ label, duty, logs, about }) => [
        label,
        DUTY_WORDS[duty],
        logs ? 'on' : 'off',
        about,
      ]),
    }),
    'Where a line below is missing, that one could not run here or left the race; the notes below its table say why.',
    ...results.flatMap(section),
    RUNNING,
  ]
    .filter(Boolean)
    .join('\n\n')
    .concat('\n')
}

function section({ scenario, title, table: figures, notes, faults, chart }: Kept): string[] {
  return [
    `## ${title}`,
    table(figures),
    ...faults.map(fault => `**Fault:** ${fault}`),
    notes.join('\n\n'),
    `![${chart.title}](../bench/results/${scenario}.svg)`,
  ]
}

function days(results: Kept[]): string {
  const [first, ...rest] = [...new Set(results.map(({ measured }) => measured.slice(0, 10)))].toSorted()
  return rest.length === 0 ? `on ${first}` : `from ${first} to ${rest.at(-1)}`
}

const METHOD = `## Method

- **The same work.** Before it is measured, each contender shows that it forwards requests and bodies whole, keeps upstream
  connections, and, as far as it claims to, refuses bad tokens, injects the identity and lets no client spoof it.
- **Every answer is judged**: status, and body or its length. Requests are counted again at the upstream and in the logs.
- **In turns.** Every round measures each contender once, every other round in the opposite order. Ratios are formed round by
  round and their median counts: what disturbs a round disturbs both sides.
- **Apart.** The measured process has one core for itself; load and upstream share another.
- **CPU per request is the measure**: user and system time of the whole process tree from the scheduler's account in nanoseconds,
  over the requests served. On a machine whose cores are shared with others, throughput and latency follow the
  neighbours; CPU per request does so less, and ratios within a round least.
- **Best current settings for peers**: keep-alive to the upstream, one worker on the measured core, no log unless their name says so.
- Native peers verify the token's signature on every request; the gateway and the undici peer keep verified tokens
  until they expire. Both are how they would be run. \`tokens\` shows what the gateway pays for tokens that it has not seen.`

const RUNNING = `## Run it

\`\`\`sh
npm run bench                                   # everything, half an hour; needs Linux and Debian's packages
npm run bench -- --only small,refused           # some scenarios
npm run bench -- --against main                 # this checkout beside another revision, in turns
npm run bench -- --report                       # this page again, from the results that exist
\`\`\`

How the parts fit together and how to add a peer: [bench](../bench/README.md).`
