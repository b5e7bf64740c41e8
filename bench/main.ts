import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkOut, compare } from './against.ts'
import { chooseCores, moveSelfTo } from './cores.ts'
import { goalTable, judge } from './goals.ts'
import { describeMachine } from './machine.ts'
import { HELP, type Options, parseOptions, RESULTS } from './options.ts'
import { writePages } from './page.ts'
import { gateway, ROOT } from './peers/gateway.ts'
import { stopAll } from './process.ts'
import { readProfiles, selfTimes } from './profile.ts'
import { race } from './race.ts'
import { markdown, table, write } from './report.ts'
import { percent, type Result } from './result.ts'
import type { Run } from './run.ts'
import { SCENARIOS } from './scenarios/index.ts'
import { RACES } from './scenarios/races.ts'

const PROFILE_LINES = 25

const say = (line: string): void => console.error(line)

async function main(options: Options): Promise<void> {
  if (options.report) return writePages(options.results ?? RESULTS)
  const cores = chooseCores()
  moveSelfTo(cores.load)
  if (!options.sources) bundle()
  const root = await mkdtemp(join(tmpdir(), 'nyro-bench-'))
  const run: Run = { ...options, only: options.contenders, cores, directory: root, say }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, async () => {
      await stopAll()
      await rm(root, { recursive: true, force: true })
      process.exit(130)
    })
  }
  try {
    if (options.profile) await profile(run)
    else if (options.against !== null) await against(options.against, options, run)
    else await measure(options, run)
  } finally {
    await stopAll()
    await rm(root, { recursive: true, force: true })
  }
}

/** Makes what `npm start` runs. */
function bundle(): void {
  execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), '--bundle-only'], { stdio: 'inherit' })
}

async function measure({ scenarios, results: directory }: Options, run: Run): Promise<void> {
  const results: Result[] = []
  const machine = await describeMachine(run.cores)
  for (const scenario of scenarios) {
    const result = await attempt(scenario, { ...run, directory: join(run.directory, scenario) })
    if (result === null) continue
    results.push(result)
    console.log(`\n${markdown(result, machine)}\n`)
    if (directory !== null) await write(directory, result, machine)
  }
  // Every goal in its place, those of scenarios that did not run too: what is not measured is not reached.
  console.log(`\n${table(goalTable(judge(results)))}`)
  if (directory === RESULTS && results.length > 0) await writePages(directory)
  if (results.length === 0 || results.some(({ faults }) => faults.length > 0)) process.exitCode = 1
}

/** A scenario that fails does not take the others along. */
async function attempt(scenario: string, run: Run): Promise<Result | null> {
  try {
    say(`\n${scenario}`)
    await mkdir(run.directory)
    return await SCENARIOS[scenario]!(run)
  } catch (error) {
    console.error(`"${scenario}" failed:`, error)
    process.exitCode = 1
    return null
  } finally {
    await stopAll()
  }
}

async function against(revision: string, { scenarios, tolerance }: Options, run: Run): Promise<void> {
  const { root, remove } = checkOut(revision, run.directory)
  try {
    for (const scenario of scenarios) {
      const directory = join(run.directory, scenario)
      await mkdir(directory)
      const { line, slower } = await compare(scenario, root, revision, tolerance, { ...run, directory })
      console.log(line)
      if (slower) process.exitCode = 1
    }
  } finally {
    await stopAll()
    remove()
  }
}

async function profile(run: Run): Promise<void> {
  const profiles = join(run.directory, 'profiles')
  const nodeArguments = ['--cpu-prof', `--cpu-prof-dir=${profiles}`]
  const contender = gateway({ ...run, nodeArguments })
  const [entry] = RACES.small!.entries(run)
  const { faults } = await race([{ ...entry!, contender }], { ...run, rounds: 1 })
  if (faults.length > 0) throw new Error(faults.join('\n'))
  const rows = selfTimes(await readProfiles(profiles))
    .slice(0, PROFILE_LINES)
    .map(({ place, microseconds, share }) => [percent(share), (microseconds / 1000).toFixed(0), place])
  console.log(table({ columns: ['self', 'ms', 'function'], rows }))
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
