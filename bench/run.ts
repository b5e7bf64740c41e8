import type { Contender } from './contender.ts'
import type { Cores } from './cores.ts'

/** What a scenario is given: how long, where, on which cores, and whom. */
export type Run = {
  rounds: number
  seconds: number
  warmUp: number
  mebibytes: number
  /** WebSockets, and event streams, that are held open. */
  lasting: number
  /** Run the gateway from src/ instead of the bundle that `npm start` runs. */
  sources: boolean
  /** Names of those that may take part; null: all. */
  only: string[] | null
  directory: string
  cores: Cores
  say: (line: string) => void
}

export function wanted(run: Run, contenders: Contender[]): Contender[] {
  return contenders.filter(({ name }) => run.only?.includes(name) ?? true)
}
