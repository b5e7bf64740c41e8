/** The whole of admission in simulated time: companies that ask, the gate, and a service of so many slots. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  randomOf,
  SERVICE_TIMES,
  type ServiceTime,
  SimulatedUpstream,
  Simulation,
} from '../../test/support/simulated-upstream.ts'
import { SharedCounters } from '../store/shared-counters.ts'
import { Waiting } from './fair-queue.ts'
import { Gate, type GateOptions } from './gate.ts'
import { Slots } from './slots.ts'

/** What a company saw of the gateway. */
interface Seen {
  readonly latencies: number[]
  refused: number
}

type Shape = (random: () => number) => ServiceTime

class World {
  readonly simulation = new Simulation()
  readonly upstream: SimulatedUpstream
  readonly seen = new Map<string, Seen>()
  readonly slots = Slots.create(1)
  readonly #shape: Shape
  readonly #gate: Gate

  constructor(slots: number, shape: Shape, over: Partial<GateOptions> = {}) {
    const { simulation } = this
    this.#shape = shape
    this.upstream = new SimulatedUpstream(simulation, slots, () => 0)
    this.#gate = new Gate({
      upstream: 'service',
      slots: this.slots,
      tags: SharedCounters.create({ capacity: 1000, now: 0 }),
      worker: 0,
      queueSize: 500,
      queueTimeout: 2000,
      concurrency: { min: 2, max: 1000 },
      streamsLend: true,
      now: () => simulation.now,
      ...over,
    })
    const sweep = (): void => {
      this.#gate.expire()
      simulation.at(simulation.now + 100, sweep)
    }
    sweep()
  }

  /**
   * A company that asks so many times per second, at random, for as long as the world lasts. What it asks, and how long
   * each takes, is the same whoever else is there.
   */
  company(name: string, rate: number, weight = 1): void {
    this.seen.set(name, { latencies: [], refused: 0 })
    const random = randomOf(name.length * 1000 + name.charCodeAt(name.length - 1))
    const serviceTime = this.#shape(random)
    const next = (): void => {
      const pause = (-Math.log(1 - random()) * 1000) / rate
      this.simulation.at(this.simulation.now + pause, () => {
        this.#request(name, weight, serviceTime())
        next()
      })
    }
    next()
  }

  run(seconds: number): void {
    this.simulation.runUntil(this.simulation.now + seconds * 1000)
  }

  /** Runs, and tells of that time alone. */
  measure(seconds: number): { busy: number } {
    for (const seen of this.seen.values()) {
      seen.latencies.length = 0
      seen.refused = 0
    }
    const before = this.upstream.busy
    this.run(seconds)
    return { busy: (this.upstream.busy - before) / (this.upstream.slots * seconds * 1000) }
  }

  #request(company: string, weight: number, takes: number): void {
    const { simulation } = this
    const arrivedAt = simulation.now
    const gate = this.#gate
    const seen = this.seen.get(company)!
    const send = (inUse: number, ended: (held: number) => void): void => {
      const sentAt = simulation.now
      this.upstream.request(() => {
        const { now } = simulation
        if (gate.measures(inUse)) gate.observe(now - sentAt, inUse)
        seen.latencies.push(now - arrivedAt)
        gate.leave()
        ended(now - sentAt)
      }, takes)
    }
    const inUse = gate.enter()
    if (inUse > 0) return send(inUse, () => {})
    gate.wait(new Turn(company, weight, arrivedAt, gate, seen, send))
  }
}

type Send = (inUse: number, ended: (held: number) => void) => void

class Turn extends Waiting {
  readonly #gate: Gate
  readonly #seen: Seen
  readonly #send: Send

  constructor(company: string, weight: number, since: number, gate: Gate, seen: Seen, send: Send) {
    super(company, weight, since)
    this.#gate = gate
    this.#seen = seen
    this.#send = send
  }

  onTurn(cost: number, inUse: number): void {
    this.#send(inUse, held => this.#gate.settle(this, cost, held))
  }

  onRefused(): void {
    this.#seen.refused++
  }
}

function percentile(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * part)]!
}

const QUIET = Array.from({ length: 10 }, (_, n) => `quiet ${n}`)

function quietOf(world: World): { p99: number; refused: number; served: number } {
  const seen = QUIET.map(name => world.seen.get(name)!)
  const latencies = seen.flatMap(({ latencies }) => latencies)
  return {
    p99: percentile(latencies, 0.99),
    refused: seen.reduce((sum, { refused }) => sum + refused, 0),
    served: latencies.length,
  }
}

describe('ten quiet companies beside one that asks for twenty times the capacity', () => {
  // Where all answers take the same to the millisecond they end together as well, and each waits for all: not so here
  for (const [name, most] of [
    ['jittered', 1.12],
    ['exponential', 1.1],
    ['tailed', 1.1],
  ] as const) {
    const shape = SERVICE_TIMES[name]
    test(`hardly wait, are never refused, and the service is busy (${name})`, () => {
      const worldOf = (): World => {
        const world = new World(40, shape(200))
        for (const quiet of QUIET) world.company(quiet, 5)
        return world
      }
      const alone = worldOf()
      alone.run(40)
      alone.measure(120)
      const before = quietOf(alone)
      const crowded = worldOf()
      crowded.company('noisy', 4000)
      crowded.run(40)
      const { busy } = crowded.measure(120)
      const beside = quietOf(crowded)
      assert.equal(beside.refused, 0)
      assert.ok(beside.p99 < before.p99 * most, `p99 $before.p99alone, $beside.p99beside`)
      assert.ok(busy > 0.95, `busy $busy`)
    })
  }
})

describe('companies that all ask for more than there is', () => {
  test('share by weight, in time at the service and not in requests', () => {
    const world = new World(20, SERVICE_TIMES.jittered(50), { concurrency: 20 })
    for (const [name, weight] of [
      ['one', 1],
      ['two', 2],
      ['four', 4],
    ] as const)
      world.company(name, 2000, weight)
    world.run(5)
    world.measure(30)
    const [one, two, four] = ['one', 'two', 'four'].map(name => world.seen.get(name)!.latencies.length)
    assert.ok(Math.abs(two! / one! - 2) < 0.1 && Math.abs(four! / one! - 4) < 0.2, `$one$two$four`)
  })

  test('leave all of it to the one that is alone', () => {
    const world = new World(20, SERVICE_TIMES.constant(50), { concurrency: 20 })
    world.company('alone', 2000)
    world.run(2)
    assert.ok(world.measure(20).busy > 0.995)
    assert.equal(world.slots.view.inUse, 20)
  })
})
