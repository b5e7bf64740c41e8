/**
 * What one thread does in the stress test of the tickets. Checks that hold for one thread are made here and throw; what only
 * all threads together can show is left in the shared `tally` for the test.
 */

import { workerData } from 'node:worker_threads'
import { Tickets } from './tickets.ts'

export const TALLY = { arrived: 0, barrier: 1, stop: 2, rounds: 3, redeemed: 4, turns: 5, length: 8 } as const
/** Tickets of one round, each wanted by all threads. */
export const CONTENDED = 6
export const NOW = 1_800_000_000_000
const LATER = NOW + 30_000
const TEXT_LENGTH = 24

export interface TicketTask {
  readonly scenario: 'contend' | 'churn'
  readonly thread: number
  readonly threads: number
  readonly tickets: SharedArrayBuffer
  readonly tally: SharedArrayBuffer
  /** Where the tickets of a round are told to the others, and how often each was redeemed. */
  readonly told: SharedArrayBuffer
  readonly wins: SharedArrayBuffer
  readonly milliseconds: number
}

if (workerData !== null) work(workerData as TicketTask)

function work({ scenario, thread, threads, milliseconds, ...shared }: TicketTask): void {
  const tickets = Tickets.attach(shared.tickets)
  const tally = new Int32Array(shared.tally)
  const told = Buffer.from(shared.told)
  const wins = new Int32Array(shared.wins)
  const ends = performance.now() + milliseconds
  if (scenario === 'churn') for (;;) churn(Atomics.add(tally, TALLY.turns, 1))
  else for (let round = 0; contend(round); round++);

  /** Tickets of this thread alone: no other's payload may ever come out of them. */
  function churn(turn: number): void {
    const payload = `${thread}-${turn}-${'x'.repeat((turn * 7) % 2_500)}`
    const ticket = tickets.issue(payload, LATER, NOW)
    if (ticket === null) return
    const given = tickets.redeem(ticket, NOW)
    if (given !== payload) throw new Error(`${payload.slice(0, 30)} became ${given?.slice(0, 30)}`)
    if (tickets.redeem(ticket, NOW) !== null) throw new Error(`${payload.slice(0, 30)} came twice`)
  }

  /** In step: one thread issues, all want all of it at once, each in an order of its own, and churn in between. */
  function contend(round: number): boolean {
    const payloadOf = (each: number): string =>
      `${round}-${each}-${'y'.repeat(((round + each) * 13) % 2_500)}`
    if (thread === round % threads) {
      wins.fill(0)
      for (let each = 0; each < CONTENDED; each++) {
        const ticket = tickets.issue(payloadOf(each), LATER, NOW)
        if (ticket === null) throw new Error('no room')
        told.write(ticket, each * TEXT_LENGTH, 'latin1')
      }
      if (round >= 100 && performance.now() > ends) Atomics.store(tally, TALLY.stop, 1)
      Atomics.store(tally, TALLY.rounds, round + 1)
    }
    meet()
    for (let turn = 0; turn < CONTENDED; turn++) {
      const each = (turn + thread) % CONTENDED
      const given = tickets.redeem(told.toString('latin1', each * TEXT_LENGTH, (each + 1) * TEXT_LENGTH), NOW)
      if (given === null) continue
      if (given !== payloadOf(each))
        throw new Error(`${payloadOf(each).slice(0, 30)} became ${given.slice(0, 30)}`)
      Atomics.add(wins, each, 1)
      Atomics.add(tally, TALLY.redeemed, 1)
      churn(round * CONTENDED + turn)
    }
    const stop = Atomics.load(tally, TALLY.stop) === 1
    meet()
    if (wins.some(count => count !== 1)) throw new Error(`in round ${round} redeemed ${wins} times`)
    // Nobody begins the next round before all have looked at this one.
    meet()
    return !stop
  }

  /** Waits until all threads came here. The test may wait: what it tests does not. */
  function meet(): void {
    const seen = Atomics.load(tally, TALLY.barrier)
    if (Atomics.add(tally, TALLY.arrived, 1) === threads - 1) {
      Atomics.store(tally, TALLY.arrived, 0)
      Atomics.add(tally, TALLY.barrier, 1)
      Atomics.notify(tally, TALLY.barrier)
    } else while (Atomics.load(tally, TALLY.barrier) === seen) Atomics.wait(tally, TALLY.barrier, seen)
  }
}
