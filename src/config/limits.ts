/** What the configuration may say about plans and limits. */

import * as z from 'zod'
import { amount, duration, MAX_AMOUNT, timeZone } from './values.ts'

/** A key of a structured field (RFC 9651 §3.1.2), for it becomes one in `RateLimit-Policy`. */
const ruleName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,63}$/, 'is no rule name: small letters, digits, - and _, a letter first')
const entryName = z.string().min(1, 'stands for nobody: write a name')
const claimPath = z
  .string()
  .regex(/^[^.\s]+(\.[^.\s]+)*$/, 'is no claim path: write names joined by dots, like app_metadata.plan')

/** Unless the configuration says otherwise, also where it has no limits yet. */
export const DEFAULT_MAX_KEYS = 1_000_000

export const UNITS = ['requests', 'cost', 'bytesIn', 'bytesOut'] as const
export const SUBJECTS = ['company', 'user', 'ip'] as const
export const CALENDAR = ['day', 'month'] as const

const subject = z.union([
  z.enum(SUBJECTS),
  z.string().regex(/^claim:[^.\s]+(\.[^.\s]+)*$/, 'must be company, user, ip or claim:path.of.claim'),
])

const rule = z.strictObject({
  name: ruleName.describe('named in RateLimit fields and refusals'),
  limit: amount.optional().describe('how much within each window, in units'),
  window: z
    .union([z.enum(CALENDAR), duration])
    .optional()
    .describe('a duration, or the calendar day or month'),
  burst: z.number().optional().describe('how much of a rate may come at once, in units; default: limit'),
  concurrent: z.int().min(1).max(MAX_AMOUNT).optional().describe('requests at a time'),
  sockets: z.int().min(1).max(MAX_AMOUNT).optional().describe('WebSockets at a time'),
  unit: z.enum(UNITS).default('requests').describe('what a limit counts'),
  by: subject.default('company').describe('whose it is: company, user, ip or claim:app_metadata.team'),
  routes: z.array(z.string().min(1)).min(1).optional().describe('names of routes; default: all'),
  dryRun: z.boolean().default(false).describe('counted and logged, not enforced'),
})

const clientRule = rule.pick({ name: true, burst: true, dryRun: true }).extend({
  limit: z.int().min(1).max(MAX_AMOUNT),
  window: duration.default(1),
})

const plan = z.strictObject({
  weight: z.number().min(0.001).max(1_000).default(1).describe('share of a fair queue'),
  rules: z.array(rule).default([]),
})

export const limitsSchema = z.strictObject({
  planClaim: claimPath.default('app_metadata.plan').describe("where a token says its company's plan"),
  companies: z
    .record(entryName, z.string().min(1))
    .default({})
    .describe('company → plan; wins over the claim'),
  defaultPlan: z.string().min(1).optional().describe('for whoever has no other; default: no rules'),
  timeZone: timeZone.default('UTC').describe('of calendar days and months'),
  plans: z.record(entryName, plan).default({}),
  clients: z
    .array(clientRule)
    .default([])
    .describe('per client address, before any token is looked at; IPv6 by /64'),
  maxKeys: z
    .int()
    .min(1_000)
    .max(25_000_000)
    .default(DEFAULT_MAX_KEYS)
    .describe('counters in use at a time, about 61 bytes each'),
})

/** Quotas count in thousandths. */
const MIN_WEIGHT = 0.001

/** What a request of a route counts in rules whose unit is cost. */
export const costSchema = z.union([
  z
    .number()
    .min(MIN_WEIGHT)
    .max(1e9)
    .transform(weight => ({ weight, header: undefined, event: undefined })),
  z.strictObject({
    weight: z
      .number()
      .min(MIN_WEIGHT)
      .max(1e9)
      .default(1)
      .describe('until, or unless, the service says better'),
    header: z
      .string()
      .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, 'is no header name: letters, digits and hyphens only')
      .optional()
      .describe('header of the answer with the number; kept from clients'),
    event: claimPath
      .optional()
      .describe('path in the JSON of the last event of a stream, like usage.total_tokens'),
  }),
])

export type LimitsConfig = z.output<typeof limitsSchema>
export type PlanConfig = LimitsConfig['plans'][string]
export type RuleConfig = PlanConfig['rules'][number]
export type ClientRuleConfig = LimitsConfig['clients'][number]
export type CostConfig = z.output<typeof costSchema>
