import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Meter } from './baseline.ts'

const run = promisify(execFile)

/** Those that work on this machine. */
export async function availableMeters(): Promise<Meter[]> {
  const [perf, valgrind, control] = await Promise.all([
    succeeds('perf', ['stat', '-e', 'instructions:u', '-x', ',', 'true'], counted),
    succeeds('valgrind', ['--version'], () => true),
    succeeds('callgrind_control', ['--version'], () => true),
  ])
  return [
    ...(perf ? (['perf'] as const) : []),
    ...(valgrind && control ? (['callgrind'] as const) : []),
    'cpu',
  ]
}

/** Instructions in user mode of a process, all its threads, while `work` runs. */
export async function perfInstructions(pid: number, work: () => Promise<unknown>): Promise<number> {
  const child = spawn('perf', ['stat', '-e', 'instructions:u', '-x', ',', '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const closed = once(child, 'close')
  await once(child, 'spawn')
  await work()
  child.kill('SIGINT')
  await closed
  if (!counted(output)) throw new Error(`perf counted nothing: ${output}`)
  return Number.parseInt(output, 10)
}

/** How a program is started so that `callgrindInstructions` can count in it; it runs uncounted until then. */
export function underCallgrind(directory: string): string[] {
  const file = join(directory, 'callgrind.out')
  return ['valgrind', '--quiet', '--tool=callgrind', '--instr-atstart=no', `--callgrind-out-file=${file}`]
}

/** From here on instructions are counted, which slows the program down about five times. */
export async function startCounting(pid: number): Promise<void> {
  await control('-i', 'on', pid)
}

/** Instructions of a program that runs under callgrind while `work` runs. */
export async function callgrindInstructions(
  pid: number,
  directory: string,
  work: () => Promise<unknown>,
): Promise<number> {
  // A dump writes what was counted since the last one, and counts from zero again.
  await control('-d', 'before', pid)
  await work()
  await control('-d', 'after', pid)
  const dumps = (await readdir(directory)).filter(name => /^callgrind\.out\.\d+$/.test(name))
  const newest = Math.max(...dumps.map(name => Number(name.split('.').at(-1))))
  const total = /^(?:totals|summary): (\d+)/m.exec(
    await readFile(join(directory, `callgrind.out.${newest}`), 'utf8'),
  )?.[1]
  if (total === undefined) throw new Error('callgrind wrote a dump without a total')
  return Number(total)
}

async function control(flag: string, value: string, pid: number): Promise<void> {
  const args = flag === '-d' ? [`--dump=${value}`] : [flag, value]
  await run('callgrind_control', [...args, String(pid)], { timeout: 30_000 })
}

/** The first field of perf's line is the count, or words where the machine has no counter. */
function counted(output: string): boolean {
  return Number.parseInt(output, 10) > 0
}

async function succeeds(
  command: string,
  args: string[],
  judge: (output: string) => boolean,
): Promise<boolean> {
  const said = await run(command, args, { timeout: 10_000 }).catch(() => null)
  return said !== null && judge(said.stderr)
}
