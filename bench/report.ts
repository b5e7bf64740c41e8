import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { barChart } from './chart.ts'
import { type Machine, machineLine } from './machine.ts'
import { type Result, type Table, verdict } from './result.ts'

/** The result for people: in a terminal as well as in a Markdown file. */
export function markdown(result: Result, machine: Machine): string {
  return [
    `## ${result.title}`,
    table(result.table),
    result.faults.map(fault => `**Fault:** ${fault}`).join('\n\n'),
    result.targets.map(target => `- ${verdict(target)}`).join('\n'),
    result.notes.join('\n\n'),
    machineLine(machine),
  ]
    .filter(Boolean)
    .join('\n\n')
}

/** Writes a result as `<scenario>.json`, `.md` and `.svg`. */
export async function write(directory: string, result: Result, machine: Machine): Promise<void> {
  const { scenario, chart, ...rest } = result
  const file = (ending: string): string => join(directory, `${scenario}.${ending}`)
  const picture = `![${chart.title}](${scenario}.svg)`
  await mkdir(directory, { recursive: true })
  await Promise.all([
    writeFile(
      file('json'),
      `${JSON.stringify({ scenario, measured: new Date(), machine, ...rest }, null, 2)}\n`,
    ),
    writeFile(file('md'), `${markdown(result, machine)}\n\n${picture}\n`),
    writeFile(file('svg'), barChart(chart)),
  ])
}

/** A Markdown table whose columns line up, figures to the right. */
export function table({ columns, rows }: Table): string {
  const widths = columns.map((column, index) =>
    Math.max(3, column.length, ...rows.map(row => row[index]!.length)),
  )
  const numeric = columns.map((_, index) => rows.every(row => /^[\d(]|^$/.test(row[index]!)))
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, index) => (numeric[index] ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!))).join(' | ')} |`
  const rule = widths.map((width, index) =>
    numeric[index] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  )
  return [line(columns), line(rule), ...rows.map(line)].join('\n')
}
