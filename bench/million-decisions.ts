/**
 * What a decision about limits costs when a million companies have been seen, and what is kept of them; a process of its
 * own, which does nothing else. Prints one line of JSON for each round. Time is told, not awaited: a million companies
 * come within an hour of it.
 */

import { limitsSchema } from '../src/config/limits.ts'
import type { Client, Exchange, Reply } from '../src/exchange.ts'
import type { Identity } from '../src/identity/identity.ts'
import { Limits } from '../src/limits/limits.ts'
import { LocalStore } from '../src/limits/local-store.ts'
import type { RouteRules } from '../src/limits/plans.ts'
import { Slots } from '../src/limits/slots.ts'
import { SharedCounters } from '../src/store/shared-counters.ts'
import { chance } from './load/random.ts'
import { THREE_RULES } from './peers/limited-gateway.ts'

const [companies, rounds] = process.argv.slice(2).map(Number) as [number, number]
const FEW = 100
/** Companies whose tokens are known at a time: about as many as the memory for verified tokens holds. */
const ACTIVE = 16_384
const DECISIONS = Math.min(200_000, 10 * companies)
/** A minute's worth beyond the million: what a rate over a minute has to remember. */
const ROOM = 1.1
const HOUR_MS = 3_600_000
const MONTH_MS = 32 * 24 * HOUR_MS

const clock = { now: Date.now() }
Date.now = () => clock.now

const config = limitsSchema.parse(THREE_RULES)
const client: Client = { ip: '127.0.0.1', protocol: 'http', forwardedLines: '' }
const REPLY: Reply = { status: 200, headers: [], body: null, contentLength: 0 }
const next = (): Reply => REPLY

type Table = { counters: SharedCounters; rules: RouteRules }

function tableOf(capacity: number): Table {
  const counters = SharedCounters.create({ capacity, now: clock.now })
  const store = new LocalStore(counters, new Slots(counters, new Int32Array(new SharedArrayBuffer(4))))
  const limits = new Limits(config, store, { onUnknownPlan() {}, onViolated() {} })
  const rules = limits.rulesOf({ name: 'query', path: '/' }, () => {
    throw new Error('a decision was a refusal')
  })!
  return { counters, rules }
}

/** As a token names it that was just verified: nothing is bound to it yet. */
function identityOf(company: number): Identity {
  const companyId = `3f1d7a52-6a0e-4c0b-9b7e-${String(company).padStart(12, '0')}`
  return { userId: 'u', companyId, email: null, claims: {}, expiresAt: 0, issuedAt: 0, sessionId: null }
}

/** What a request brings of itself that limits look at. */
const exchange = { limitFields: [], violated: [], upgrade: false } as unknown as Exchange

/** A million decisions take an hour. */
const PAUSE_MS = HOUR_MS / 1_000_000

function decide({ rules }: Table, identity: Identity): void {
  clock.now += PAUSE_MS
  exchange.limitFields = []
  rules.bind(identity, client).requests!.pass(exchange, next)
}

/** Requests whose tokens are verified one after the other, before limits come to them. */
const BATCH = 64
const verified: Identity[] = []
let read = 0

/**
 * Nanoseconds of one decision of many. By the time that limits are asked a request's identity was read from the memory
 * for verified tokens, or was just made: that is not part of it.
 */
function decisions(table: Table, identityAt: (place: number) => Identity): number {
  let nanoseconds = 0
  for (let place = 0; place < DECISIONS; place += BATCH) {
    for (let each = 0; each < BATCH; each++) {
      const identity = identityAt(place + each)
      read += identity.expiresAt
      verified[each] = identity
    }
    const begin = performance.now()
    for (let each = 0; each < BATCH; each++) decide(table, verified[each]!)
    nanoseconds += (performance.now() - begin) * 1e6
  }
  return nanoseconds / DECISIONS
}

/** Nanoseconds of one of many. */
function timed(one: (place: number) => void): number {
  const begin = performance.now()
  for (let place = 0; place < DECISIONS; place++) one(place)
  return ((performance.now() - begin) * 1e6) / DECISIONS
}

const resident = (): number => {
  globalThis.gc?.()
  return process.memoryUsage.rss()
}

const few = tableOf(companies * ROOM)
const fewIdentities = Array.from({ length: FEW }, (_, company) => identityOf(company))
for (let warm = 0; warm < DECISIONS; warm++) {
  decide(few, fewIdentities[warm % FEW]!)
  decide(few, identityOf(warm % FEW))
}

const before = resident()
const all = tableOf(companies * ROOM)
for (let company = 0; company < companies; company++) decide(all, identityOf(company))
const lost = all.counters.overflows
const active = Array.from({ length: Math.min(ACTIVE, companies) }, (_, place) =>
  identityOf(Math.floor(chance(1, place) * companies)),
)
for (const identity of active) decide(all, identity)
const megabytes = (resident() - before) / 1e6

/** As many cache lines as three counters lie in, of as much memory as they lie in, and nothing else. */
const LINES_OF_DECISION = 9
const memory = new Int32Array(all.counters.buffer.byteLength / 4).fill(1)
let touched = 0
const touch = (place: number, span: number): void => {
  for (let line = 0; line < LINES_OF_DECISION; line++)
    touched += memory[Math.floor(chance(line, place % span) * memory.length)]!
}

for (let round = 0; round < rounds; round++) {
  const seed = round + 2
  const pick = (place: number, of: number): number => Math.floor(chance(seed, place) * of)
  const measures: Record<string, () => number> = {
    hundred: () => decisions(few, place => fewIdentities[pick(place, FEW)]!),
    million: () => decisions(all, place => active[pick(place, active.length)]!),
    'million-seen': () => decisions(all, place => active[pick(place, FEW)]!),
    'hundred-new': () => decisions(few, place => identityOf(pick(place, FEW))),
    'million-new': () => decisions(all, place => identityOf(pick(place, companies))),
    'hundred-memory': () => timed(place => touch(place, FEW)),
    'million-memory': () => timed(place => touch(place, DECISIONS)),
  }
  const names = Object.keys(measures)
  const nanoseconds: Record<string, number> = {}
  for (const name of round % 2 === 0 ? names : names.toReversed()) nanoseconds[name] = measures[name]!()
  console.log(JSON.stringify({ nanoseconds }))
}

// All have been idle until the next month: as many others find room in the same table, and nothing is left of the first.
const overflows = all.counters.overflows
clock.now += MONTH_MS
for (let company = 0; company < companies; company++) decide(all, identityOf(companies + company))
console.log(
  JSON.stringify({
    state: {
      megabytes,
      tableMegabytes: all.counters.buffer.byteLength / 1e6,
      // Of a table that has room for all counters of all companies at a time
      minuteMegabytes: SharedCounters.create({ capacity: 3 * companies }).buffer.byteLength / 1e6,
      lost,
      left: all.counters.overflows - overflows,
    },
    touched: touched + read,
  }),
)
