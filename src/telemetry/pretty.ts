/** Log lines for people at a terminal. */

import { styleText } from 'node:util'

const COLOURS = {
  debug: 'gray',
  info: 'green',
  warning: 'yellow',
  error: 'red',
  critical: 'magenta',
} as const

/** @param line one JSON log line */
export function prettyLine(line: string): string {
  const { level, timestamp, event, ...fields } = JSON.parse(line) as Record<string, unknown>
  const name = level as keyof typeof COLOURS
  const time = styleText('gray', String(timestamp).slice(11, 23), { validateStream: false })
  const label = styleText(COLOURS[name] ?? 'gray', name.toUpperCase().padEnd(8), { validateStream: false })
  const text = 'method' in fields ? requestText(fields) : String(event)
  const rest = Object.entries(fields)
    .filter(([key, value]) => !SHOWN.has(key) && value !== null && value !== 0)
    .map(([key, value]) => `${key}=${printable(typeof value === 'string' ? value : JSON.stringify(value))}`)
  return `${time} ${label} ${text} ${styleText('gray', rest.join(' '), { validateStream: false })}\n`
}

const SHOWN: ReadonlySet<string> = new Set(['method', 'path', 'status_code', 'duration', 'outcome'])

function requestText(fields: Record<string, unknown>): string {
  const { method, path, status_code: status, duration } = fields
  return printable(`${method} ${path} → ${status} in ${(Number(duration) * 1000).toFixed(1)} ms`)
}

/** A terminal obeys control characters that JSON had escaped. */
function printable(text: string): string {
  return text.replace(/[\0-\x1f\x7f-\x9f]/g, character => JSON.stringify(character).slice(1, -1))
}
