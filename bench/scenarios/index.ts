import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { twoCores } from '../cores.ts'
import { present } from '../field.ts'
import { missingPackages } from '../packages.ts'
import { type Entry, type RaceOutcome, race } from '../race.ts'
import { raceResult } from '../race-result.ts'
import type { Result } from '../result.ts'
import type { Run } from '../run.ts'
import { echo } from './echo.ts'
import { firstEvent } from './first-event.ts'
import { http2OverTls } from './http2.ts'
import { idle } from './idle.ts'
import { latency } from './latency.ts'
import { million } from './million.ts'
import { noisyNeighbour } from './noisy-neighbour.ts'
import { RACES, type Race } from './races.ts'
import { sockets } from './sockets.ts'
import { startup } from './startup.ts'
import { transfer } from './transfer.ts'

/** Null: nobody could take part. */
export type Scenario = (run: Run) => Promise<Result | null>

const NEEDED = ['wrk', 'nginx', 'libnginx-mod-http-js']

/** All scenarios, in the order in which they run and are shown. */
export const SCENARIOS: Record<string, Scenario> = {
  ...Object.fromEntries(Object.entries(RACES).map(([name, one]) => [name, asScenario(name, one)])),
  latency: needing(latency),
  idle: needing(idle),
  'first-event': needing(firstEvent, ['wrk']),
  echo: needing(echo, ['wrk']),
  sockets: needing(sockets, ['wrk']),
  http2: needing(http2OverTls, [...NEEDED, 'nghttp2-client', 'openssl']),
  'noisy-neighbour': noisyNeighbour,
  million,
  startup,
  transfer,
}

function asScenario(name: string, one: Race): Scenario {
  return needing(async given => {
    const run = one.twoCores ? { ...given, cores: twoCores() } : given
    const entries = one
      .entries(run)
      .filter(
        ({ name, contender }) =>
          run.only === null || [name, contender.name].some(known => run.only?.includes(known)),
      )
    const { contenders, leftOut } = await present([...new Set(entries.map(({ contender }) => contender))])
    leftOut.forEach(run.say)
    const field = entries.filter(({ contender }) => contenders.includes(contender))
    if (field.length === 0) return null
    const result = raceResult({ scenario: name, ...one }, field, await races(field, run, one.processes ?? 1))
    return { ...result, notes: [...result.notes, ...leftOut] }
  })
}

/** One race after the other, each among processes of its own; together they are one with so many more rounds. */
async function races(field: Entry[], run: Run, count: number): Promise<RaceOutcome> {
  if (count === 1) return race(field, run)
  const together: RaceOutcome = { samples: [], faults: [] }
  for (let number = 0; number < count; number++) {
    const directory = join(run.directory, `race-${number}`)
    await mkdir(directory)
    const { samples, faults } = await race(field, { ...run, directory, seconds: 1 })
    const before = number * run.rounds
    together.samples.push(...samples.map(sample => ({ ...sample, round: before + sample.round })))
    together.faults.push(...faults)
  }
  return together
}

/** Leaves a scenario out, with a word, where its load or its upstream cannot run. */
function needing(scenario: Scenario, packages: string[] = NEEDED): Scenario {
  return async run => {
    const reason = await missingPackages(packages)
    if (reason === null) return scenario(run)
    run.say(`left out, the load and the upstream are missing: ${reason}`)
    return null
  }
}
