import type { RedisClient, RedisLink } from '../redis/link.ts'
import { SUMS } from './account.ts'
import { daysFrom } from './day.ts'
import { group } from './query.ts'
import type { UsageBatch, UsageQuery, UsageRecord, UsageStore } from './store.ts'

/**
 * KEYS: the number of the last batch of this gateway; then for each row the companies of the day and the company's day.
 * ARGV: the number of this batch; seconds to keep; then for each row company, route and sums.
 *
 * The number is written first. Should a command behind it fail, which takes keys that somebody else has written, a part
 * of the batch is missing; were it written last, the other part would be added again each second.
 */
const ADD = `
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
local sums = {${SUMS.map(name => `'${name}:'`).join(', ')}}
local at = 3
for key = 2, #KEYS, 2 do
  redis.call('SADD', KEYS[key], ARGV[at])
  local route = ARGV[at + 1]
  for index, name in ipairs(sums) do
    local amount = ARGV[at + 1 + index]
    if amount ~= '0' then redis.call('HINCRBYFLOAT', KEYS[key + 1], name .. route, amount) end
  end
  redis.call('EXPIRE', KEYS[key], ARGV[2])
  redis.call('EXPIRE', KEYS[key + 1], ARGV[2])
  at = at + 2 + #sums
end
return 1`

const DAY_SECONDS = 86_400
/** Keys that are asked for at a time: no call may take long, for Redis or for whoever else uses the link. */
const KEYS_AT_A_TIME = 100

/** Usage that several gateways share. One hash for each company and day, and a set of the companies of each day. */
export class RedisStore implements UsageStore {
  readonly #link: RedisLink
  readonly #prefix: string
  readonly #keep: number

  /** @param keep days that a company's day is kept after it was written last */
  constructor(link: RedisLink, keep: number) {
    this.#link = link
    // All in one slot of a cluster, or no script could write them together
    this.#prefix = `${link.prefix}{usage}:`
    this.#keep = keep
  }

  async add({ instance, sequence, rows }: UsageBatch): Promise<void> {
    const keys = [`${this.#prefix}batch:${instance}`]
    const values: (string | number)[] = [sequence, this.#keep * DAY_SECONDS]
    for (const { account, ...sums } of rows) {
      keys.push(this.#companiesOf(account.day), this.#dayOf(account.day, account.company))
      values.push(account.company, account.route, ...SUMS.map(name => plain(sums[name])))
    }
    await this.#link.run(client => client.eval(ADD, keys.length, ...keys, ...values) as Promise<unknown>)
  }

  async read(query: UsageQuery): Promise<UsageRecord[]> {
    const places: { day: string; company: string }[] = []
    const days = daysFrom(query.from, query.to)
    if (query.company !== null) for (const day of days) places.push({ day, company: query.company })
    else {
      const companies = await this.#ask(days, (client, day) => client.smembers(this.#companiesOf(day)))
      for (const [index, day] of days.entries())
        for (const company of companies[index]!) places.push({ day, company })
    }
    const hashes = await this.#ask(places, (client, { day, company }) =>
      client.hgetall(this.#dayOf(day, company)),
    )
    return group(
      hashes.flatMap((hash, index) => rowsOf(hash, places[index]!)),
      query,
    )
  }

  async #ask<T, R>(items: readonly T[], ask: (client: RedisClient, item: T) => Promise<R>): Promise<R[]> {
    const answers: R[] = []
    for (let at = 0; at < items.length; at += KEYS_AT_A_TIME) {
      const some = items.slice(at, at + KEYS_AT_A_TIME)
      answers.push(...(await this.#link.run(client => Promise.all(some.map(item => ask(client, item))))))
    }
    return answers
  }

  #companiesOf(day: string): string {
    return `${this.#prefix}${day}`
  }

  #dayOf(day: string, company: string): string {
    return `${this.#prefix}${day}:${company}`
  }

  /** The link belongs to whoever made it. */
  close(): void {}
}

/** Without an exponent, which HINCRBYFLOAT takes but not everybody who looks into Redis reads. */
function plain(amount: number): string {
  return Number.isInteger(amount) ? String(amount) : amount.toFixed(9)
}

/** The rows of one company on one day, from fields like `requests:orders`. */
function rowsOf(
  hash: Readonly<Record<string, string>>,
  place: { day: string; company: string },
): Required<UsageRecord>[] {
  const byRoute = new Map<string, Required<UsageRecord>>()
  for (const [field, value] of Object.entries(hash)) {
    const colon = field.indexOf(':')
    const name = SUMS.find(each => each === field.slice(0, colon))
    if (name === undefined) continue
    const route = field.slice(colon + 1)
    let row = byRoute.get(route)
    if (row === undefined) {
      const none = Object.fromEntries(SUMS.map(each => [each, 0])) as Record<(typeof SUMS)[number], number>
      row = { ...place, route, ...none }
      byRoute.set(route, row)
    }
    row[name] = Number(value)
  }
  return [...byRoute.values()]
}
