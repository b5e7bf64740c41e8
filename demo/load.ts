/**
 * Two companies at the demo's gateway: acme asks five times a second, globex more often than its plan grants and than the
 * query service can answer. Prints each second what becomes of either. A program of its own: the demo prints its line.
 */

import { Agent, get } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { signIn } from './sign-in.ts'

interface Company {
  readonly name: string
  readonly email: string
  readonly perSecond: number
}

const companies: readonly Company[] = [
  { name: 'acme', email: 'ana@acme.example', perSecond: 5 },
  { name: 'globex', email: 'carla@globex.example', perSecond: 400 },
]

/** Each takes a fifth of a second at the service, which has 40 at a time: 200 a second. */
const path = '/api/v1/query/slow?ms=200'
/** Requests of a company under way at a time; what is due beyond that is not sent. */
const mostUnderWay = 1_000
const dueEvery = 5

/** What became of the requests of a company. */
class Tally {
  answered = 0
  /** 429: more than its plan grants. */
  overPlan = 0
  /** 503: the queue is full of its own requests, or their turn did not come in time. */
  overShare = 0
  other = 0
  readonly latencies: number[] = []

  count(status: number, milliseconds: number): void {
    if (status === 200) {
      this.answered += 1
      this.latencies.push(milliseconds)
    } else if (status === 429) this.overPlan += 1
    else if (status === 503) this.overShare += 1
    else this.other += 1
  }

  cells(): string[] {
    const sorted = this.latencies.toSorted((a, b) => a - b)
    const p99 = sorted[Math.floor(sorted.length * 0.99)]
    const counts = [this.answered, this.overPlan, this.overShare].map(String)
    return [...counts, p99 === undefined ? '-' : `${Math.round(p99)} ms`]
  }
}

class Asking {
  readonly company: Company
  readonly all = new Tally()
  second = new Tally()
  #underWay = 0
  #asked = 0
  readonly #agent = new Agent({ keepAlive: true })
  readonly #url: string
  readonly #token: string

  constructor(company: Company, gateway: string, token: string) {
    this.company = company
    this.#url = gateway + path
    this.#token = token
  }

  /** Sends what is due after so many milliseconds, whether what went before was answered or not. */
  sendDue(milliseconds: number): void {
    const due = Math.floor((milliseconds * this.company.perSecond) / 1_000)
    for (; this.#asked < due; this.#asked += 1) if (this.#underWay < mostUnderWay) this.#send()
  }

  close(): void {
    this.#agent.destroy()
  }

  #send(): void {
    const begin = performance.now()
    this.#underWay += 1
    const ended = (status: number) => {
      this.#underWay -= 1
      for (const tally of [this.second, this.all]) tally.count(status, performance.now() - begin)
    }
    const headers = { Authorization: `Bearer ${this.#token}` }
    get(this.#url, { agent: this.#agent, headers }, response => {
      response.resume()
      response.on('end', () => ended(response.statusCode ?? 0))
      response.on('error', () => ended(0))
    }).on('error', () => ended(0))
  }
}

async function run(gateway: string, seconds: number): Promise<void> {
  const asking = await Promise.all(
    companies.map(async company => new Asking(company, gateway, await signIn(gateway, company.email))),
  )
  console.log(
    row(
      '',
      asking.map(({ company: { name, perSecond } }) => [`${name}, ${perSecond}/s`]),
    ),
  )
  console.log(
    row(
      'second',
      asking.map(() => ['answered', 'plan 429', 'queue 503', 'p99']),
    ),
  )
  const begin = performance.now()
  for (let second = 1; second <= seconds; second += 1) {
    while (performance.now() - begin < second * 1_000) {
      for (const each of asking) each.sendDue(performance.now() - begin)
      await delay(dueEvery)
    }
    console.log(
      row(
        String(second),
        asking.map(each => each.second.cells()),
      ),
    )
    for (const each of asking) each.second = new Tally()
  }
  console.log(
    row(
      'all',
      asking.map(each => each.all.cells()),
    ),
  )
  for (const each of asking) each.close()
}

function row(first: string, groups: readonly (readonly string[])[]): string {
  const cells = groups.map(group =>
    group.length === 1 ? group[0]!.padEnd(43) : group.map(cell => cell.padStart(9)).join('  '),
  )
  return [first.padStart(6), ...cells].join('   ').trimEnd()
}

const [gateway = 'http://127.0.0.1:8080', seconds = '15'] = process.argv.slice(2)
await run(gateway, Number(seconds)).catch((error: Error) => {
  console.error(`${error.message}: does the demo run at ${gateway}?`)
  process.exitCode = 1
})
