import type { Table } from './result.ts'

const MARKED = /(<!-- bench:([\w-]+) -->\n)([\s\S]*?)(<!-- \/bench -->)/g

/**
 * Puts tables between the markers `<!-- bench:NAME -->` and `<!-- /bench -->` of a document, in place of the one that
 * stands there. The words around it stay; so do translated names of columns and rows, as far as they have not changed.
 */
export function insertTables(document: string, tables: ReadonlyMap<string, Table>): string {
  return document.replace(MARKED, (whole, open: string, name: string, inside: string, close: string) => {
    const table = tables.get(name)
    if (table === undefined) return whole
    const lines = inside.split('\n')
    const first = lines.findIndex(line => line.startsWith('|'))
    const last = lines.findLastIndex(line => line.startsWith('|'))
    const [before, old, after] =
      first === -1
        ? [lines, [], ['']]
        : [lines.slice(0, first), lines.slice(first, last + 1), lines.slice(last + 1)]
    return open + [...before, ...translated(table, old.map(cellsOf)), ...after].join('\n') + close
  })
}

function translated({ columns, rows }: Table, old: string[][]): string[] {
  const [oldColumns = [], , ...oldRows] = old
  const heads = oldColumns.length === columns.length ? oldColumns : columns
  // Rows come in a fixed order and begin with a product's name: as long as these agree, each keeps the document's words.
  const kept =
    oldRows.length === rows.length &&
    rows.every(([name], index) => productOf(name!) === productOf(oldRows[index]![0]!))
  const names = (kept ? oldRows : rows).map(([name]) => name!)
  const body = rows.map(([, ...figures], index) => [names[index]!, ...figures])
  return aligned([heads, ...body])
}

function aligned(lines: string[][]): string[] {
  const widths = lines[0]!.map((_, index) => Math.max(3, ...lines.map(line => line[index]!.length)))
  const drawn = lines.map(
    line =>
      `| ${line.map((cell, index) => (index === 0 ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!))).join(' | ')} |`,
  )
  const rule = `| ${widths.map((width, index) => (index === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return [drawn[0]!, rule, ...drawn.slice(1)]
}

function cellsOf(line: string): string[] {
  return line
    .slice(1, line.lastIndexOf('|'))
    .split('|')
    .map(cell => cell.trim())
}

function productOf(name: string): string {
  return name.split(/[ ,]/, 1)[0]!
}
