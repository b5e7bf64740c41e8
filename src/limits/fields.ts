/** What answers say of limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11). */

import { type Rule, remaining, resetIn, type Unit } from './rules.ts'

/** Quota units of the draft's §6, and one of our own. Requests are what it takes for granted. */
const QUOTA_UNITS: Readonly<Record<Unit, string>> = {
  requests: '',
  cost: ';qu="cost"',
  bytesIn: ';qu="content-bytes"',
  bytesOut: ';qu="content-bytes"',
}
const DAY_SECONDS = 86_400

/** The value of `RateLimit-Policy`. The window of a month is not named, since months differ; `RateLimit` tells its end. */
export function policyField(rules: readonly Rule[]): string {
  return rules.map(describe).join(', ')
}

function describe(rule: Rule): string {
  const name = `"${rule.name}"`
  switch (rule.kind) {
    case 'rate':
      return `${name};q=${rule.limit}${QUOTA_UNITS[rule.unit]};w=${Math.max(1, Math.round(rule.window))}`
    case 'quota':
      return `${name};q=${rule.most}${QUOTA_UNITS[rule.unit]}${rule.unitOfTime === 'day' ? `;w=${DAY_SECONDS}` : ''}`
    case 'slots':
      return `${name};q=${rule.most};qu="concurrent-requests"`
  }
}

export interface Level {
  readonly rule: Rule
  /** What the store said when it granted; below zero: it refused, and how many milliseconds to wait. */
  readonly level: number
}

/** The value of `RateLimit`: what is left of each, the one that will bind first in front. */
export function rateLimitField(levels: readonly Level[], now: number): string {
  let text = ''
  if (levels.length === 1) return item(levels[0]!, now)
  for (const level of [...levels].sort((a, b) => share(a) - share(b)))
    text += text === '' ? item(level, now) : `, ${item(level, now)}`
  return text
}

function share({ rule, level }: Level): number {
  return level < 0 ? -1 : remaining(rule, level) / rule.most
}

function item({ rule, level }: Level, now: number): string {
  if (level < 0) return `"${rule.name}";r=0;t=${Math.ceil(-level / 1000)}`
  const reset = resetIn(rule, level, now)
  return `"${rule.name}";r=${remaining(rule, level)}${reset === 0 ? '' : `;t=${reset}`}`
}
