/**
 * `npm run bench:ci`: does a request cost more than it did? A minute, up to three when in doubt, one line. Instructions are counted where
 * something can count them, since they hardly depend on who else uses the machine; else CPU time in turns with a bare
 * `node:http` answer. `--record` writes what was measured as the new baseline; `--meter NAME` chooses.
 */

import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  type Baseline,
  type Costs,
  chooseMeter,
  leastOf,
  line,
  METERS,
  type Meter,
  risen,
  UNIT,
} from './ci/baseline.ts'
import { PREPARE, startUpstream } from './ci/measure.ts'
import { availableMeters } from './ci/meters.ts'
import { chooseCores, moveSelfTo } from './cores.ts'
import { ROOT } from './peers/gateway.ts'
import { stopAll } from './process.ts'

const BASELINE = join(ROOT, 'bench/results/baseline.json')

/**
 * How many gateways are measured, one after the other, before a rise is believed, and for what is recorded: what V8 makes of
 * the same code differs from process to process, 90,000 to 116,000 instructions for a small request. A rise that is real
 * shows in each of them.
 */
const PROCESSES = 3

const { values } = parseArgs({
  options: { record: { type: 'boolean', default: false }, meter: { type: 'string' } },
})

const available = (await availableMeters()).filter(meter => (values.meter ?? meter) === meter)
const baseline: Baseline = await readFile(BASELINE, 'utf8').then(
  text => JSON.parse(text) as Baseline,
  () => ({ recorded: '', node: '' }),
)
execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), '--bundle-only'], { stdio: 'inherit' })
const cores = chooseCores()
moveSelfTo(cores.load)
if (values.record) await record()
else process.exitCode = await check()

/** Measures with all meters that are here, and keeps the figures of those that are not. */
async function record(): Promise<void> {
  const found: Baseline = {
    ...baseline,
    recorded: new Date().toISOString().slice(0, 10),
    node: process.versions.node,
  }
  for (const meter of METERS.filter(meter => available.includes(meter))) {
    found[meter] = await leastMeasured(meter, () => true)
    console.log(`${meter}: ${JSON.stringify(found[meter])} ${UNIT[meter]}`)
  }
  await writeFile(BASELINE, `${JSON.stringify(found, null, 2)}\n`)
}

async function check(): Promise<number> {
  const meter = chooseMeter(baseline, available)
  if (meter === null) {
    console.error('bench: there is no baseline for this machine: npm run bench:ci -- --record')
    return 1
  }
  const allowed = baseline[meter]!
  const costs = await leastMeasured(meter, found => risen(meter, allowed, found).length > 0)
  console.log(line(meter, allowed, costs))
  return risen(meter, allowed, costs).length === 0 ? 0 : 1
}

/** The least that a process needed, of as many as `inDoubt` asks for. */
async function leastMeasured(meter: Meter, inDoubt: (found: Costs) => boolean): Promise<Costs> {
  let costs = await measured(meter)
  for (let more = 1; more < PROCESSES && inDoubt(costs); more++) costs = leastOf(costs, await measured(meter))
  return costs
}

async function measured(meter: Meter): Promise<Costs> {
  const directory = await mkdtemp(join(tmpdir(), 'nyro-bench-ci-'))
  const upstream = await startUpstream()
  try {
    const measure = await PREPARE[meter]({ directory, cores, upstreamPort: upstream.port })
    return await measure()
  } finally {
    await stopAll()
    upstream.close()
    await rm(directory, { recursive: true, force: true })
  }
}
