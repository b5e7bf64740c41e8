/** The command line: `nyro-gateway start | demo | check | diff | routes | usage`. */

import { parseArgs } from 'node:util'
import { check, routes, start, USAGE } from './cli/commands.ts'
import { HELP } from './cli/help.ts'
import type { UsageOptions } from './cli/usage.ts'
import { VERSION } from './version.ts'

type Command = (options: UsageOptions) => Promise<number>

const COMMANDS: Readonly<Record<string, Command>> = {
  start,
  check,
  routes,
  async usage(options) {
    // SQLite and Redis are for those who ask.
    const { usage } = await import('./cli/usage.ts')
    return usage(options)
  },
  async demo() {
    // Not part of the published gateway's path: loaded only when asked for.
    const { runDemo } = await import('../demo/demo.ts')
    return runDemo()
  },
}

async function main(args: readonly string[]): Promise<number> {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(args)
  } catch (error) {
    return usage((error as Error).message)
  }
  const { values, positionals } = parsed
  if (values.help) return print(HELP)
  if (values.version) return print(`${VERSION}\n`)
  const [name, ...rest] = positionals
  if (name === 'diff') return runDiff(rest, values)
  if (name === undefined) return usage('no command given')
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (name === 'help') return print(HELP)
  if (command === undefined) return usage(`there is no command ${JSON.stringify(name)}`)
  if (rest.length > 0)
    return usage(`${name} takes no argument ${JSON.stringify(rest[0])}: the config file goes behind --config`)
  const { config, ...others } = values
  const strange = Object.keys(others).find(option => name !== 'usage' && option in USAGE_OPTIONS)
  if (strange !== undefined) return usage(`--${strange} belongs to usage, not to ${name}`)
  return command({ ...others, file: config })
}

async function runDiff(files: readonly string[], options: object): Promise<number> {
  const [before, after] = files
  const [strange] = Object.keys(options)
  if (strange !== undefined) return usage(`--${strange} does not belong to diff`)
  if (before === undefined || after === undefined || files.length > 2)
    return usage('diff takes two config files, the old one and the new one')
  const { diff } = await import('./cli/diff.ts')
  return diff(before, after)
}

/** Options of one command alone. */
const USAGE_OPTIONS = {
  company: { type: 'string' },
  route: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  by: { type: 'string' },
  csv: { type: 'boolean' },
} as const

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      config: { type: 'string', short: 'c' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'V' },
      ...USAGE_OPTIONS,
    },
  })
}

function print(text: string): number {
  process.stdout.write(text)
  return 0
}

function usage(message: string): number {
  process.stderr.write(`nyro-gateway: ${message}\nTry nyro-gateway --help.\n`)
  return USAGE
}

process.exitCode = await main(process.argv.slice(2))
