import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { barChart } from './chart.ts'
import { GOALS, goalTable, judge } from './goals.ts'
import { type Machine, machineLine } from './machine.ts'
import { panelChart } from './panels.ts'
import type { Result, Table } from './result.ts'

/** A result as it is kept: with when and where it was measured. */
export type Kept = Result & { measured: string; machine: Machine }

/** The result for people: in a terminal as well as in a Markdown file. */
export function markdown(result: Result, machine: Machine): string {
  const verdicts = judge([result]).filter(({ goal }) => goal.scenario === result.scenario)
  return [
    `## ${result.title}`,
    table(result.table),
    result.faults.map(fault => `**Fault:** ${fault}`).join('\n\n'),
    verdicts.length === 0 ? '' : table(goalTable(verdicts)),
    result.notes.join('\n\n'),
    machineLine(machine),
  ]
    .filter(Boolean)
    .join('\n\n')
}

/** Writes a result as `<scenario>.json`, `.md` and `.svg`. */
export async function write(directory: string, result: Result, machine: Machine): Promise<void> {
  const { scenario } = result
  const file = (ending: string): string => join(directory, `${scenario}.${ending}`)
  const picture = `![${result.chart.title}](${scenario}.svg)`
  const kept: Kept = { ...result, measured: new Date().toISOString(), machine }
  await mkdir(directory, { recursive: true })
  await Promise.all([
    writeFile(file('json'), `${JSON.stringify(kept, null, 2)}\n`),
    writeFile(file('md'), `${markdown(result, machine)}\n\n${picture}\n`),
    writeFile(file('svg'), draw(result)),
  ])
}

/** The results that a directory holds, in the order of `names`. */
export async function readResults(directory: string, names: string[]): Promise<Kept[]> {
  const files = await readdir(directory).catch(() => [] as string[])
  const present = names.filter(name => files.includes(`${name}.json`))
  const kept = await Promise.all(
    present.map(
      async name => JSON.parse(await readFile(join(directory, `${name}.json`), 'utf8')) as Partial<Kept>,
    ),
  )
  // An older form of the file has no samples: it must be measured again.
  return kept.filter(({ samples }) => samples !== undefined) as Kept[]
}

/** A Markdown table whose columns line up, figures to the right. */
export function table({ columns, rows }: Table): string {
  const widths = columns.map((column, index) =>
    Math.max(3, column.length, ...rows.map(row => row[index]!.length)),
  )
  const numeric = columns.map((_, index) => rows.every(row => /^-?[\d(]|^$/.test(row[index]!)))
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, index) => (numeric[index] ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!))).join(' | ')} |`
  const rule = widths.map((width, index) =>
    numeric[index] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  )
  return [line(columns), line(rule), ...rows.map(line)].join('\n')
}

/** A goal for the very figure that a chart of bars shows is drawn into it. */
function draw({ scenario, chart }: Result): string {
  if ('panels' in chart) return panelChart(chart)
  const goal = GOALS.find(one => one.scenario === scenario && one.unit === chart.unit)
  return barChart(goal === undefined ? chart : { ...chart, limit: goal.limit })
}
