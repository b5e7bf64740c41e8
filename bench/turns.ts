import { firstLine, type Sample } from './result.ts'
import type { Run } from './run.ts'

/** Someone who takes turns with others. */
export type Participant = {
  name: string
  /** One turn: raw figures by name. */
  turn: () => Promise<Record<string, number>>
  /** One line about it. */
  tell: (figures: Record<string, number>) => string
}

export type Turns = {
  /** The turns of those that stayed to the end. */
  samples: Sample[]
  faults: string[]
}

/** All in turns, round by round, every other round backwards. Who fails once is out. */
export async function inTurns(participants: Participant[], run: Run): Promise<Turns> {
  const faults = new Map<string, string>()
  const samples: Sample[] = []
  for (let round = 1; round <= run.rounds; round++) {
    for (const { name, turn, tell } of round % 2 === 1 ? participants : participants.toReversed()) {
      if (faults.has(name)) continue
      try {
        const figures = await turn()
        samples.push({ entry: name, round, figures })
        run.say(`round ${round}/${run.rounds}, ${name}: ${tell(figures)}`)
      } catch (error) {
        faults.set(name, firstLine(error))
        run.say(`${name} leaves: ${(error as Error).message}`)
      }
    }
  }
  return {
    samples: samples.filter(({ entry }) => !faults.has(entry)),
    faults: [...faults].map(([name, fault]) => `${name} left: ${fault}`),
  }
}
