/**
 * `node bench/ci/limits.ts`: what limits and the fair queue add to a request, in instructions of user mode, which hardly
 * depend on who else uses the machine. Routes of one process are compared: what V8 makes of the same code differs from one
 * process to the next by more. Needs valgrind; two minutes. Leases of Redis are left out: they are renewed by the clock, which
 * does not wait for a program that valgrind makes fifty times slower.
 */

import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Contender, Running } from '../contender.ts'
import { chooseCores, moveSelfTo } from '../cores.ts'
import { generate } from '../load/generate.ts'
import { ROOT } from '../peers/gateway.ts'
import { LIMITED_PATHS, type LimitedRoute, limitedGateway } from '../peers/limited-gateway.ts'
import { stopAll } from '../process.ts'
import { ANSWER } from '../upstream/service.ts'
import { COMPILE_EARLY, startUpstream } from './measure.ts'
import { callgrindInstructions, startCounting, underCallgrind } from './meters.ts'

const WARM_UP = 15_000
const WINDOWS = 9
const COUNTED = 400

async function ask({ port }: Running, route: LimitedRoute, requests: number): Promise<void> {
  const { wrong } = await generate({
    port,
    connections: 16,
    path: LIMITED_PATHS[route],
    paths: 1,
    tokens: { kind: 'one' },
    first: 0,
    expected: { status: 200, body: ANSWER },
    pace: { kind: 'closed', requests },
  })
  if (wrong > 0) throw new Error(`${wrong} of ${requests} answers on "${route}" were wrong`)
}

execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), '--bundle-only'], { stdio: 'inherit' })
moveSelfTo(chooseCores().load)
const directory = await mkdtemp(join(tmpdir(), 'nyro-bench-limits-'))
const upstream = await startUpstream()

try {
  const choice = { sources: false, under: underCallgrind(directory), nodeArguments: COMPILE_EARLY }
  const counts = await instructionsOf(limitedGateway(choice), ['none', 'rules', 'queue'], upstream.port)
  const none = counts.get('none')!
  for (const [route, count] of counts)
    console.log(`${route}: ${count.toFixed(0)} instructions/request, ${(count / none).toFixed(3)} of none`)
} finally {
  await stopAll()
  upstream.close()
  await rm(directory, { recursive: true, force: true })
}

/** The least of some windows, taken in turns: all that disturbs only adds. */
async function instructionsOf(
  contender: Contender,
  routes: LimitedRoute[],
  upstreamPort: number,
): Promise<Map<LimitedRoute, number>> {
  const running = await contender.start({ directory, upstreamPort, cores: chooseCores() })
  const { pid } = running.process
  for (const route of [...routes, ...routes]) await ask(running, route, WARM_UP)
  await startCounting(pid)
  for (const route of routes) await ask(running, route, COUNTED)
  const least = new Map<LimitedRoute, number>()
  for (let window = 0; window < WINDOWS; window++) {
    for (const route of window % 2 === 0 ? routes : routes.toReversed()) {
      const count =
        (await callgrindInstructions(pid, directory, () => ask(running, route, COUNTED))) / COUNTED
      least.set(route, Math.min(count, least.get(route) ?? Number.POSITIVE_INFINITY))
    }
  }
  await running.process.stop()
  return least
}
