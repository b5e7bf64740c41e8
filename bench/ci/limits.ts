/**
 * `node bench/ci/limits.ts`: what limits and the fair queue add to a request, in instructions of user mode, which hardly
 * depend on who else uses the machine. Routes of one process are compared: what V8 makes of the same code differs from one
 * process to the next by more. Needs valgrind; three minutes.
 */

import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Contender, Running } from '../contender.ts'
import { chooseCores, moveSelfTo } from '../cores.ts'
import { generate } from '../load/generate.ts'
import { ROOT } from '../peers/gateway.ts'
import { LIMITED_PATHS, type LimitedRoute, limitedGateway, sharing } from '../peers/limited-gateway.ts'
import { stopAll } from '../process.ts'
import { ANSWER } from '../upstream/service.ts'
import { COMPILE_EARLY, startUpstream } from './measure.ts'
import { callgrindInstructions, startCounting, underCallgrind } from './meters.ts'

const WARM_UP = 6_000
const WINDOWS = 7
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

/** The least of some windows, taken in turns: all that disturbs only adds. */
async function instructionsOf(
  contender: Contender,
  routes: LimitedRoute[],
  directory: string,
  upstreamPort: number,
): Promise<Map<LimitedRoute, number>> {
  await mkdir(directory)
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

execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), '--bundle-only'], { stdio: 'inherit' })
moveSelfTo(chooseCores().load)
const directory = await mkdtemp(join(tmpdir(), 'nyro-bench-limits-'))
const upstream = await startUpstream()
try {
  const under = (name: string) => ({
    sources: false,
    name,
    under: underCallgrind(join(directory, name)),
    nodeArguments: COMPILE_EARLY,
  })
  const [local, redis] = [under('local'), under('redis')]
  const inRedis = sharing(limitedGateway(redis), redis)
  const gateways = [
    { name: 'local', contender: limitedGateway(local), routes: ['none', 'rules', 'queue'] as LimitedRoute[] },
    { name: 'redis', contender: inRedis, routes: ['none', 'rules'] as LimitedRoute[] },
  ]
  for (const { name, contender, routes } of gateways) {
    const counts = await instructionsOf(contender, routes, join(directory, name), upstream.port)
    const none = counts.get('none')!
    for (const [route, count] of counts)
      console.log(
        `${name}, ${route}: ${count.toFixed(0)} instructions/request, ${(count / none).toFixed(3)} of none`,
      )
  }
} finally {
  await stopAll()
  upstream.close()
  await rm(directory, { recursive: true, force: true })
}
