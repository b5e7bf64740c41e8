import { OTHER_SETTINGS, SETTINGS } from '../config/env.ts'

const settings = [
  ...Object.entries(SETTINGS).map(([name, { help }]) => [name, help] as const),
  ...Object.entries(OTHER_SETTINGS),
]
const width = Math.max(...settings.map(([name]) => name.length))

export const HELP = `nyro-gateway: API gateway for multi-tenant B2B SaaS on Supabase Auth

Usage: nyro-gateway COMMAND [--config FILE]

Commands:
  start     serve traffic
  check     validate the configuration, print all of its problems
  diff      diff OLD NEW: say what changes from one config file to the other
  routes    print the table of routes with what guards each
  usage     print what each company used, from where gateways of this configuration count it
  demo      gateway with embedded services, no configuration needed

Options:
  -c, --config FILE   gateway.config.ts, .yaml or .json (default: the one in this directory, if any)
      --company NAME  usage: of this company only; '' for what had none
      --route NAME    usage: of this route only
      --from DAY      usage: first day, YYYY-MM-DD (default: the first of the month of --to)
      --to DAY        usage: last day (default: today)
      --by LIST       usage: what to tell apart, of day,company,route (default: all)
      --csv           usage: CSV in place of a table
  -V, --version
  -h, --help

Environment (also from .env; it wins over the config file):
${settings.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`).join('\n')}

Signals of start:
  SIGHUP            load the configuration again; with anything wrong in it, the old one stays
  SIGTERM, SIGINT   finish what is in flight, then end

Exit codes: 0 well, 1 failed, 64 wrong usage, 78 wrong configuration
`
