/** What answers say of limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11). */

import type { Taken } from './meter.ts'
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

export interface WhatIsLeft {
  readonly text: string
  /** Of the one in front, as a part of all that it grants; below zero: it refused. */
  readonly least: number
}

/**
 * The value of `RateLimit`: what is left of each, the one that will bind first in front.
 * @param levels what the meter of each said; below zero: it refused, and how many milliseconds to wait
 * @param known how many of the rules were asked
 */
export function rateLimitField(
  rules: readonly Rule[],
  levels: readonly Taken[],
  known: number,
  now: number,
): WhatIsLeft {
  let text = ''
  let least = Number.POSITIVE_INFINITY
  for (let index = 0; index < known; index++) {
    const rule = rules[index]!
    if (rule.dryRun) continue
    const level = levels[index]!
    const refused = level < 0
    const left = refused ? 0 : remaining(rule, level)
    const share = refused ? -1 : left / rule.most
    const reset = refused ? Math.ceil(-level / 1000) : resetIn(rule, level, now)
    const item = reset === 0 ? rule.beginning + left : `${rule.beginning}${left};t=${reset}`
    // One pass: of the others the order says nothing
    if (text === '') text = item
    else text = share < least ? `${item}, ${text}` : `${text}, ${item}`
    if (share < least) least = share
  }
  return { text, least }
}
