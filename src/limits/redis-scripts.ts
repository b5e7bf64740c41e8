/**
 * What Redis does for limits, each in one atomic step. Times are those of Redis, in microseconds, so that the clocks of
 * the gateways need not agree. All keys of one call have the same hash tag: a cluster keeps them in one place.
 *
 * Numbers that are no small integers come and go as text: Redis would cut the fraction off, and Lua's own way to write
 * them has 14 digits.
 */

import type { RedisClient } from '../redis/link.ts'

const NOW = `
local function clock(given)
  if given ~= '0' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
`

/**
 * A batch that was sent again because nobody heard of its outcome counts once: the last number of each writer is kept for
 * a while, and what it was granted. A number below it comes late, from a connection that was given up.
 */
const REPEATED = `
local function repeated(key, number)
  local last, granted = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  if not last or number > tonumber(last) then return nil end
  return number == tonumber(last) and tonumber(granted) or 0
end
`

/**
 * GCRA. The state is the theoretical arrival time (\`tat\`), and how much time was lost by idling, in all. Who comes late
 * with what it used meanwhile (\`owed\`, within \`age\`) uses up what idled away since it heard of that last: so it makes
 * no difference who comes first. A Redis that lost the state learns it from whoever asks.
 *
 * The plan of a company may change, and another interval hold from then on. What is owed under a slower one (\`pace\`, the
 * fastest since nothing was owed) then is as many units of the faster one; under a faster one it stays the time it was.
 *
 * KEYS state, marker of the writer
 * ARGV interval, depth, want, least, owed, age, number, life of the marker in ms (0: none), tat and idle time that the
 *      writer was told last (0, -1: nothing), time (0: Redis' own)
 * Answers granted, tat - time, tat, idle time
 */
export const RATE = `${NOW}${REPEATED}
local interval, depth, want, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local owed, age, number, life = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local told = tonumber(ARGV[10])
local now = clock(ARGV[11])
local tat, idle, idleEnd, pace = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%S+) (%S+) (%S+)$')
tat, idle, idleEnd = tonumber(tat or ARGV[9]), tonumber(idle or math.max(0, told)), tonumber(idleEnd or 0)
pace = tat > now and tonumber(pace or interval) or interval
local faster = interval < pace
if faster then
  tat = now + (tat - now) * interval / pace
  pace = interval
end
local granted = life > 0 and repeated(KEYS[2], number)
if not granted then
  granted = 0
  if owed > 0 then
    local begin = now - age
    local since = told < 0 and 0 or idle - told
    if tat < begin then
      if tat > 0 then
        idle = idle + begin - tat
        idleEnd = math.max(idleEnd, begin)
      end
      tat = begin
    end
    tat = tat + owed * interval
    local spare = math.min(since, idleEnd - begin, tat - now)
    if spare > 0 then
      tat = tat - spare
      idle = idle - spare
    end
  else
    tat = tat + owed * interval
  end
  local from = math.max(tat, now)
  local room = math.floor((now + depth - from) / interval + 0.000001)
  if room >= least then granted = math.min(want, room) end
  if granted > 0 then
    if tat < now then
      if tat > 0 then idle = idle + now - tat end
      idleEnd = now
    end
    tat = from + granted * interval
  end
  if granted > 0 or owed ~= 0 or faster then
    local text = string.format('%.3f %.0f %.0f %.17g', tat, idle, idleEnd, pace)
    redis.call('SET', KEYS[1], text, 'PX', math.ceil(math.max(0, tat - now) / 1000) + 5000)
  end
  if life > 0 then redis.call('SET', KEYS[2], string.format('%.0f %.0f', number, granted), 'PX', life) end
end
return {granted, string.format('%.3f', math.max(0, tat - now)), string.format('%.3f', tat), string.format('%.0f', idle)}
`

/**
 * A quota of one window. A Redis that lost it learns from each writer what that one was told last (\`known\`, of the state
 * \`id\`), and counts on from the largest.
 *
 * KEYS state, marker of the writer
 * ARGV most, want, least, owed, known, id, number, life of the marker in ms, end of the state in ms since 1970
 * Answers granted, used, id
 */
export const QUOTA = `${NOW}${REPEATED}
local most, want, least, owed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local known, number, life = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local state = redis.call('HMGET', KEYS[1], 'base', 'since', 'id')
local base, since, id = tonumber(state[1] or 0), tonumber(state[2] or 0), state[3]
local fresh = not id
if fresh then id = string.format('%.0f', clock('0')) end
if ARGV[6] ~= '' and ARGV[6] ~= id and known > base then base = known end
local granted = repeated(KEYS[2], number)
if not granted then
  granted = 0
  since = math.max(-base, since + owed)
  local room = math.floor(most - base - since)
  if room >= least then granted = math.max(0, math.min(want, room)) end
  since = since + granted
  redis.call('SET', KEYS[2], string.format('%.0f %.0f', number, granted), 'PX', life)
end
redis.call('HSET', KEYS[1], 'base', string.format('%.17g', base), 'since', string.format('%.17g', since), 'id', id)
if fresh then redis.call('PEXPIREAT', KEYS[1], ARGV[9]) end
return {granted, string.format('%.17g', base + since), id}
`

/**
 * How many each holder may have at a time; \`want\` is all of it, not what is new, so that saying it twice does no harm.
 * Who has not spoken for a while has died: what it held is free.
 *
 * KEYS state
 * ARGV holder, most, want, what it has in use, number, life in ms
 * Answers what it may have, what all have
 */
export const SLOTS = `${NOW}
local most, want, used, number, life = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = clock('0') / 1000
local others = 0
local mine, last = 0, -1
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local count, ends, spoken = string.match(all[at + 1], '^(%d+) (%d+) (%d+)$')
  if all[at] == ARGV[1] then
    mine, last = tonumber(count), tonumber(spoken)
  elseif tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], all[at])
  else
    others = others + tonumber(count)
  end
end
if number > last then
  mine = math.max(used, math.min(want, most - others))
  if mine > 0 then
    redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f %.0f', mine, now + life, number))
    redis.call('PEXPIRE', KEYS[1], life)
  else
    redis.call('HDEL', KEYS[1], ARGV[1])
  end
end
return {mine, others + mine}
`

/**
 * Says that a gateway lives, and asks how many do.
 *
 * KEYS state
 * ARGV gateway, life in ms (0: it ends)
 * Answers how many live
 */
export const GATEWAYS = `${NOW}
local now, life = clock('0') / 1000, tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if life > 0 then
  redis.call('ZADD', KEYS[1], now + life, ARGV[1])
  redis.call('PEXPIRE', KEYS[1], life)
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return redis.call('ZCARD', KEYS[1])
`

type Argument = string | number
type Call = (...keysAndArguments: Argument[]) => Promise<unknown>

/** A client that knows the scripts: sent whole once for each connection, by their hash from then on. */
export interface ScriptClient {
  limitRate: Call
  limitQuota: Call
  limitSlots: Call
  limitGateways: Call
}

/** How many numbers each of them answers. */
export const ANSWERS: Readonly<Record<keyof ScriptClient, number>> = {
  limitRate: 4,
  limitQuota: 3,
  limitSlots: 2,
  limitGateways: 1,
}

export function withScripts(client: RedisClient): ScriptClient {
  client.defineCommand('limitRate', { numberOfKeys: 2, lua: RATE })
  client.defineCommand('limitQuota', { numberOfKeys: 2, lua: QUOTA })
  client.defineCommand('limitSlots', { numberOfKeys: 1, lua: SLOTS })
  client.defineCommand('limitGateways', { numberOfKeys: 1, lua: GATEWAYS })
  return client as unknown as ScriptClient
}
