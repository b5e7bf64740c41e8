import { execFileSync } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { gateway, ROOT } from './peers/gateway.ts'
import { race } from './race.ts'
import { ratioOf, withRange } from './result.ts'
import type { Run } from './run.ts'
import { RACES } from './scenarios/races.ts'

const THIS = 'gateway'
const OTHER = 'gateway-other'

/** Checks a revision out beside this one and makes what its `npm start` runs. */
export function checkOut(revision: string, directory: string): { root: string; remove: () => void } {
  const root = join(directory, 'revision')
  const git = (...args: string[]): void => {
    execFileSync('git', args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
  }
  git('worktree', 'add', '--detach', root, revision)
  const remove = (): void => git('worktree', 'remove', '--force', root)
  try {
    // The packages of this checkout stand in for those of the other, so that only the code differs.
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
    execFileSync(process.execPath, ['scripts/build.ts', '--bundle-only'], { cwd: root, stdio: 'inherit' })
    return { root, remove }
  } catch (error) {
    remove()
    throw error
  }
}

export type Comparison = { scenario: string; line: string; slower: boolean }

/** This checkout and another one in turns; the race's load is that of the gateway in the scenario. */
export async function compare(
  scenario: string,
  root: string,
  revision: string,
  tolerance: number,
  run: Run,
): Promise<Comparison> {
  const load = RACES[scenario]?.entries(run).find(({ name }) => name === THIS)?.load
  if (load === undefined) throw new Error(`"${scenario}" cannot compare two revisions`)
  const contenders = [gateway(run), gateway({ ...run, root, name: OTHER, label: revision })]
  const entries = contenders.map(contender => ({
    name: contender.name,
    label: contender.label,
    contender,
    load,
  }))
  const { samples, faults } = await race(entries, run)
  const ratio = ratioOf(samples, THIS, OTHER, 'cpu')
  if (ratio === null) throw new Error(faults.join('; '))
  const slower = ratio.median > 1 + tolerance
  const verdict = slower ? `slower than ${revision} by more than ${tolerance * 100} %` : 'no slower'
  return { scenario, slower, line: `${scenario}: CPU ${withRange(ratio, 3)} × ${revision}: ${verdict}` }
}
