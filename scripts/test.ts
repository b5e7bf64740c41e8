/**
 * `npm test`: types, lint, then unit and end-to-end tests, each to its end so that one run shows all there is to mend.
 * Arguments are passed on to the test runner as file patterns. With TEST_COST=1 it also holds what a request costs against
 * the baseline (bench/ci.ts). Closes with the plain line `N passed, N failed`.
 */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const bin = (name: string): string => `${root}node_modules/.bin/${name}`

const patterns = process.argv.slice(2)
const files =
  patterns.length > 0
    ? patterns
    : globSync(
        [
          'src/**/*.test.ts',
          'demo/**/*.test.ts',
          'bench/*.test.ts',
          'bench/{ci,load,upstream}/*.test.ts',
          'test/**/*.test.ts',
        ],
        {
          cwd: root,
        },
      )

/** One step that either passes or fails as a whole. */
function step(name: string, command: string, args: readonly string[]): boolean {
  process.stdout.write(`\n# ${name}\n`)
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.stdout.write(`# ${name} failed\n`)
  return status === 0
}

interface Counts {
  pass: number
  fail: number
  skipped: number
}

/**
 * Runs the tests in the spec format and reads the runner's own totals at its end.
 * @param workers threads of the gateways that the tests start, where a test does not say otherwise
 */
async function runTests(name: string, files: readonly string[], workers: number): Promise<Counts> {
  if (files.length === 0) return { pass: 0, fail: 0, skipped: 0 }
  process.stdout.write(`\n# ${name}\n`)
  const child = spawn(
    process.execPath,
    [
      '--test',
      `--test-concurrency=${Math.max(2, availableParallelism())}`,
      '--test-timeout=180000',
      '--test-reporter=spec',
      ...files,
    ],
    {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, GATEWAY_WORKERS: String(workers) },
    },
  )
  // The end of its output may come before its exit code is known
  const closed = once(child, 'close') as Promise<[number | null]>
  let tail = ''
  for await (const chunk of child.stdout) {
    process.stdout.write(chunk)
    tail = (tail + chunk).slice(-200_000)
  }
  const total = (name: string): number =>
    Number([...tail.matchAll(new RegExp(`^(?:ℹ|#) ${name} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0)
  const counts = { pass: total('pass'), fail: total('fail') + total('cancelled'), skipped: total('skipped') }
  const [exitCode] = await closed
  const crashed = exitCode !== 0 && counts.fail === 0
  return crashed || counts.pass === 0 ? { ...counts, fail: counts.fail + 1 } : counts
}

const steps = [
  step('types', bin('tsc'), ['-p', 'tsconfig.json']),
  step('lint', bin('biome'), ['check', '--error-on-warnings']),
  // Takes its minute where changes are judged, not with every run of a test.
  ...(process.env.TEST_COST === '1' ? [step('cost of a request', process.execPath, ['bench/ci.ts'])] : []),
]
// What starts gateways is tried with one worker and with several: both must behave the same.
const isEndToEnd = (file: string): boolean => /(^|[\\/])test[\\/]/.test(file)
const endToEnd = files.filter(isEndToEnd)
const runs = [
  await runTests(
    'unit tests',
    files.filter(file => !isEndToEnd(file)),
    1,
  ),
  await runTests('end to end, one worker', endToEnd, 1),
  await runTests('end to end, two workers', endToEnd, 2),
]
const sum = (name: keyof Counts): number => runs.reduce((total, counts) => total + counts[name], 0)
const passed = sum('pass') + steps.filter(ok => ok).length
const failed = sum('fail') + steps.filter(ok => !ok).length
const skipped = sum('skipped')
process.stdout.write(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
process.exitCode = failed > 0 ? 1 : 0
