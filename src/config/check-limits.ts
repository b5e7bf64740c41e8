/** What the schema of plans and limits cannot say. */

import type { CALENDAR, LimitsConfig, RuleConfig } from './limits.ts'
import type { GatewayConfig, RouteConfig } from './schema.ts'

type Path = readonly PropertyKey[]
type Report = (path: Path, message: string) => void

export function checkLimits({ limits, routes }: GatewayConfig, report: Report): void {
  if (limits === undefined) return
  checkPlanNames(limits, report)
  const names = new Set(routes.map(routeName))
  for (const [plan, { rules }] of Object.entries(limits.plans)) {
    const at = ['limits', 'plans', plan, 'rules']
    checkRuleNames(rules, at, report)
    for (const [index, rule] of rules.entries()) {
      checkRule(rule, [...at, index], report)
      for (const [position, name] of (rule.routes ?? []).entries()) {
        if (!names.has(name))
          report([...at, index, 'routes', position], `names no route: there are ${listed(names)}`)
      }
    }
  }
  checkWeights(limits, routes, report)
  checkRuleNames(limits.clients, ['limits', 'clients'], report)
  checkClientNames(limits, report)
  for (const [index, { limit, window, burst }] of limits.clients.entries())
    checkRate({ limit, window, burst }, ['limits', 'clients', index], report)
}

function checkPlanNames({ plans, companies, defaultPlan }: LimitsConfig, report: Report): void {
  const known = Object.keys(plans)
  const unknown = (path: Path, name: string): void => {
    if (!Object.hasOwn(plans, name))
      report(
        path,
        `${JSON.stringify(name)} is no plan: ${known.length === 0 ? 'none is defined' : `there are ${known.join(', ')}`}`,
      )
  }
  if (defaultPlan !== undefined) unknown(['limits', 'defaultPlan'], defaultPlan)
  for (const [company, plan] of Object.entries(companies)) unknown(['limits', 'companies', company], plan)
}

/** Two rules of one name would be one in the answer's fields, and share their counters. */
function checkRuleNames(rules: readonly { readonly name: string }[], at: Path, report: Report): void {
  const seen = new Set<string>()
  for (const [index, { name }] of rules.entries()) {
    if (seen.has(name)) report([...at, index, 'name'], `${name} is the name of another rule of this plan`)
    seen.add(name)
  }
}

/** They stand in the same answers. */
function checkClientNames({ clients, plans }: LimitsConfig, report: Report): void {
  for (const [index, { name }] of clients.entries()) {
    const plan = Object.keys(plans).find(plan => plans[plan]!.rules.some(rule => rule.name === name))
    if (plan !== undefined)
      report(['limits', 'clients', index, 'name'], `${name} is the name of a rule of plan ${plan}`)
  }
}

function checkRule(rule: RuleConfig, at: Path, report: Report): void {
  const { limit, window, burst, concurrent, sockets, unit } = rule
  const kinds = [limit, concurrent, sockets].filter(value => value !== undefined).length
  if (kinds !== 1) {
    const fault = kinds === 0 ? 'limits nothing' : 'has more than one limit'
    return report(at, `${fault}: give one of limit (with window), concurrent, sockets`)
  }
  if (limit === undefined) {
    for (const key of ['window', 'burst'] as const)
      if (rule[key] !== undefined) report([...at, key], 'belongs to a limit, which this rule does not have')
    if (unit !== 'requests') report([...at, 'unit'], 'belongs to a limit, which this rule does not have')
    return
  }
  if (window === undefined)
    return report(at, 'has a limit without a window: write a duration ("1m"), "day" or "month"')
  checkRate({ limit, window, burst }, at, report)
}

const routeName = ({ name, path }: RouteConfig): string => name ?? path

/** A request that costs more than may ever come at once would never pass. */
function checkWeights({ plans }: LimitsConfig, routes: readonly RouteConfig[], report: Report): void {
  for (const [index, route] of routes.entries()) {
    for (const [plan, { rules }] of Object.entries(plans)) {
      const narrow = rules.find(
        ({ unit, limit, burst, routes }) =>
          unit === 'cost' &&
          limit !== undefined &&
          route.cost.weight > (burst ?? limit) &&
          (routes === undefined || routes.includes(routeName(route))),
      )
      if (narrow !== undefined)
        report(
          ['routes', index, 'cost'],
          `is more than rule ${narrow.name} of plan ${plan} ever grants at once (${narrow.burst ?? narrow.limit}): no request would pass`,
        )
    }
  }
}

interface Rate {
  readonly limit: number
  readonly window: number | (typeof CALENDAR)[number]
  readonly burst?: number | undefined
}

/** One emission interval must be a microsecond at least, or the rate could not be told from none. */
const MAX_PER_SECOND = 1_000_000_000

function checkRate({ limit, window, burst }: Rate, at: Path, report: Report): void {
  if (typeof window === 'string') {
    if (burst !== undefined)
      report([...at, 'burst'], `belongs to a rate: a quota by the ${window} has no burst`)
    return
  }
  if (window <= 0) return report([...at, 'window'], 'must be longer than 0')
  if (limit / window > MAX_PER_SECOND)
    report([...at, 'limit'], `is more than ${MAX_PER_SECOND} per second: leave the rule out`)
  if (burst === undefined) return
  if (!(burst >= 1)) report([...at, 'burst'], 'must be at least 1, or no request would ever pass')
  else if (!Number.isSafeInteger(burst)) report([...at, 'burst'], 'must be a whole number')
  else if (burst > limit)
    report([...at, 'burst'], `is more than the limit of ${limit}: within one window no more can come`)
}

function listed(names: ReadonlySet<string>): string {
  return names.size === 0 ? 'none' : [...names].slice(0, 20).join(', ')
}

/** @param config checked before */
export function quotaWarnings({ limits, redis, usage }: GatewayConfig): string[] {
  const kept = redis !== undefined || usage !== undefined
  const rules = Object.values(limits?.plans ?? {}).flatMap(({ rules }) => rules)
  if (kept || !rules.some(({ window }) => typeof window === 'string')) return []
  return [
    'limits: quotas of days and months begin anew with each start: configure usage or redis to keep them',
  ]
}
