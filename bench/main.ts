import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Contender } from './contender.ts'
import { type Cores, chooseCores, moveSelfTo } from './cores.ts'
import { describeMachine } from './machine.ts'
import { HELP, type Options, parseOptions, type Scenario } from './options.ts'
import { missingPackages } from './packages.ts'
import { fastify, fastifyLog } from './peers/fastify.ts'
import { gateway } from './peers/gateway.ts'
import { haproxy, haproxyLog } from './peers/haproxy.ts'
import { nginx, nginxNjs } from './peers/nginx.ts'
import { stopAll } from './process.ts'
import { readProfiles, selfTimes } from './profile.ts'
import { markdown, table, write } from './report.ts'
import { percent, type Result, verdict } from './result.ts'
import { small } from './scenarios/small.ts'
import { smallResult } from './scenarios/small-result.ts'
import { startup } from './scenarios/startup.ts'
import { transfer } from './scenarios/transfer.ts'

const PROFILE_LINES = 25

type Run = { options: Options; cores: Cores; directory: string }

const say = (line: string): void => console.error(line)

async function main(options: Options): Promise<void> {
  const cores = chooseCores()
  moveSelfTo(cores.load)
  if (!options.sources) bundle()
  const root = await mkdtemp(join(tmpdir(), 'nyro-bench-'))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, async () => {
      await stopAll()
      await rm(root, { recursive: true, force: true })
      process.exit(130)
    })
  }
  try {
    if (options.profile) return await profile({ options, cores, directory: root })
    const results: Result[] = []
    for (const scenario of options.scenarios) {
      const result = await attempt(scenario, { options, cores, directory: join(root, scenario) })
      if (result === null) continue
      results.push(result)
      const machine = await describeMachine(cores)
      console.log(`\n${markdown(result, machine)}\n`)
      if (options.results !== null) await write(options.results, result, machine)
    }
    for (const target of results.flatMap(result => result.targets)) console.log(verdict(target))
    if (results.some(result => result.faults.length > 0)) process.exitCode = 1
  } finally {
    await stopAll()
    await rm(root, { recursive: true, force: true })
  }
}

/** Makes what `npm start` runs. */
function bundle(): void {
  const script = fileURLToPath(new URL('../scripts/build.ts', import.meta.url))
  execFileSync(process.execPath, [script, '--bundle-only'], { stdio: 'inherit' })
}

/** A scenario that fails does not take the others along. */
async function attempt(scenario: Scenario, run: Run): Promise<Result | null> {
  try {
    await mkdir(run.directory)
    return await SCENARIO[scenario](run)
  } catch (error) {
    console.error(`"${scenario}" failed:`, error)
    process.exitCode = 1
    return null
  } finally {
    await stopAll()
  }
}

const SCENARIO: Record<Scenario, (run: Run) => Promise<Result | null>> = {
  small: async ({ options, cores, directory }) => {
    if (await loadIsMissing()) return null
    const { contenders, leftOut } = await present(options, options.contenders)
    if (contenders.length === 0) return null
    const { rounds, seconds } = options
    const outcome = await small({ contenders, rounds, seconds, directory, cores, say })
    const result = smallResult(contenders, outcome)
    return { ...result, notes: [...result.notes, ...leftOut] }
  },
  transfer: async ({ options, cores, directory }) => {
    const { contenders } = await present(options, options.contenders ?? ['gateway'])
    if (contenders.length === 0) return null
    return transfer({ contenders, bytes: options.mebibytes * 2 ** 20, directory, cores, say })
  },
  startup: async ({ options, cores, directory }) => {
    if ((await present(options, ['gateway'])).contenders.length === 0) return null
    return startup({ choice: options, directory, cores, say })
  },
}

async function profile({ options, cores, directory }: Run): Promise<void> {
  if (await loadIsMissing()) return
  const profiles = join(directory, 'profiles')
  const nodeArguments = ['--cpu-prof', `--cpu-prof-dir=${profiles}`]
  const contenders = [gateway({ sources: options.sources, nodeArguments })]
  const { faults } = await small({ contenders, rounds: 1, seconds: options.seconds, directory, cores, say })
  if (faults.length > 0) throw new Error(faults.join('\n'))
  const rows = selfTimes(await readProfiles(profiles))
    .slice(0, PROFILE_LINES)
    .map(({ place, microseconds, share }) => [percent(share), (microseconds / 1000).toFixed(0), place])
  console.log(table({ columns: ['self', 'ms', 'function'], rows }))
}

type Present = { contenders: Contender[]; leftOut: string[] }

/** The contenders that were asked for (all when null), as far as this machine can run them. */
async function present(options: Options, names: string[] | null): Promise<Present> {
  const all = [gateway(options), haproxyLog, haproxy, nginx, nginxNjs, fastify, fastifyLog]
  const unknown = names?.find(name => !all.some(contender => contender.name === name))
  if (unknown !== undefined) throw new Error(`there is no contender "${unknown}"`)
  const found: Present = { contenders: [], leftOut: [] }
  for (const contender of all.filter(({ name }) => names?.includes(name) ?? true)) {
    const reason = await contender.missing()
    if (reason === null) found.contenders.push(contender)
    else found.leftOut.push(`${contender.name} is left out: ${reason}.`)
  }
  found.leftOut.forEach(say)
  return found
}

async function loadIsMissing(): Promise<boolean> {
  const reason = await missingPackages(['wrk', 'nginx', 'libnginx-mod-http-js'])
  if (reason !== null) say(`"small" is left out, its load and its upstream are missing: ${reason}`)
  return reason !== null
}

function parseOrExit(): Options {
  try {
    const options = parseOptions(process.argv.slice(2))
    if (!options.help) return options
    console.log(HELP)
    process.exit(0)
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`)
    process.exit(2)
  }
}

const options = parseOrExit()
if (process.platform !== 'linux') {
  console.error('The benchmark reads /proc and pins processes: it needs Linux.')
  process.exit(1)
}
main(options).catch(error => {
  console.error(error)
  process.exitCode = 1
})
