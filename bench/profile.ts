import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The parts of a .cpuprofile (Chrome DevTools protocol, Profiler.Profile) that self time needs. */
export type CpuProfile = {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[]
  /** The node on top of the stack at each sample, and the microseconds since the sample before it. */
  samples: number[]
  timeDeltas: number[]
}

export type SelfTime = { place: string; microseconds: number; share: number }

const ROOT = new URL('../', import.meta.url).href

/** Functions by the time spent in themselves, the longest first; shares are of the time that was not idle. */
export function selfTimes(profiles: CpuProfile[]): SelfTime[] {
  const byPlace = new Map<string, number>()
  for (const { nodes, samples, timeDeltas } of profiles) {
    const places = new Map(nodes.map(node => [node.id, place(node.callFrame)]))
    samples.forEach((id, index) => {
      // A sample stands for the time until the next one.
      const name = places.get(id) ?? '(unknown)'
      byPlace.set(name, (byPlace.get(name) ?? 0) + Math.max(0, timeDeltas[index + 1] ?? 0))
    })
  }
  byPlace.delete('(idle)')
  const total = [...byPlace.values()].reduce((sum, microseconds) => sum + microseconds, 0)
  return [...byPlace]
    .map(([name, microseconds]) => ({
      place: name,
      microseconds,
      share: total === 0 ? 0 : microseconds / total,
    }))
    .toSorted((a, b) => b.microseconds - a.microseconds)
}

/** All profiles that a process left in a directory: one for each of its threads. */
export async function readProfiles(directory: string): Promise<CpuProfile[]> {
  const names = (await readdir(directory)).filter(name => name.endsWith('.cpuprofile'))
  return Promise.all(
    names.map(async name => JSON.parse(await readFile(join(directory, name), 'utf8')) as CpuProfile),
  )
}

function place({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const name = functionName || '(anonymous)'
  if (url === '') return name
  const file = url.startsWith(ROOT) ? fileURLToPath(url).slice(fileURLToPath(ROOT).length) : url
  return `${name} ${file}:${lineNumber + 1}`
}
