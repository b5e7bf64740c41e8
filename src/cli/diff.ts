/** `nyro-gateway diff OLD NEW`: what one configuration does otherwise than another, in words. */

import { differencesOf } from '../config/differences.ts'
import { fixedOf, restartKeys } from '../config/fixed.ts'
import { loadConfig } from '../config/load.ts'
import { isObject } from '../config/parse.ts'
import type { GatewayConfig, RouteConfig } from '../config/schema.ts'
import { reportProblems } from './commands.ts'

/** @returns the exit code: 0, or 78 when one of the two is wrong */
export async function diff(before: string, after: string): Promise<number> {
  const old = await loadConfig({ file: before })
  if (old.config === null) return reportProblems(old)
  const now = await loadConfig({ file: after })
  if (now.config === null) return reportProblems(now)
  process.stdout.write(describeDiff(old.config, now.config))
  return 0
}

/** Lines of text. Who may do more or less comes first. */
export function describeDiff(before: GatewayConfig, after: GatewayConfig): string {
  const { pairs, added, removed } = matched(before.routes, after.routes)
  const byGuard = GUARDS.map(([verb, is]) =>
    counted(
      [
        ...pairs.filter(({ old, now }) => is(now) && !is(old)).map(({ now }) => now),
        ...added.filter(route => is(route) && route.auth !== 'required'),
      ],
      verb,
    ),
  )
  const own = pairs
    .map(({ old, now }) => ({ now, lines: differences(old, now) }))
    .filter(({ lines }) => lines.length > 0)
  const { routes: _, ...settingsBefore } = before
  const { routes: __, ...settingsAfter } = after
  const settings = differences(settingsBefore, settingsAfter)
  const restart = restartKeys(fixedOf(before), fixedOf(after))
  const lines = [
    ...byGuard,
    counted(added, ['is added', 'are added']),
    counted(removed, ['is removed', 'are removed']),
    counted(
      own.map(({ now }) => now),
      ['changes', 'change'],
    ),
    ...own.flatMap(({ now, lines }) => lines.map(line => `  ${nameOf(now)}  ${line}`)),
    ...(settings.length === 0 ? [] : ['settings', ...settings.map(line => `  ${line}`)]),
    restart.length === 0
      ? null
      : `${restart.length} ${restart.length === 1 ? 'setting needs' : 'settings need'} a restart: ${restart.join(', ')}`,
  ].filter(line => line !== null)
  return lines.length === 0 ? 'no difference\n' : `${lines.join('\n')}\n`
}

type Verb = readonly [one: string, many: string]

/** What a platform engineer must not overlook. */
const GUARDS: readonly (readonly [Verb, (route: RouteConfig) => boolean])[] = [
  [['becomes public', 'become public'], ({ auth }) => auth === 'none'],
  [['takes requests without a token', 'take requests without a token'], ({ auth }) => auth === 'optional'],
  [['asks for a token', 'ask for a token'], ({ auth }) => auth === 'required'],
  [
    ['takes tokens without a company', 'take tokens without a company'],
    ({ auth, company }) => auth !== 'none' && company === 'optional',
  ],
]

interface Matched {
  readonly pairs: readonly { readonly old: RouteConfig; readonly now: RouteConfig }[]
  readonly added: readonly RouteConfig[]
  readonly removed: readonly RouteConfig[]
}

/** Routes of one name on both sides, in order where several have the same. */
function matched(before: readonly RouteConfig[], after: readonly RouteConfig[]): Matched {
  const open = Map.groupBy(after, nameOf)
  const pairs: { old: RouteConfig; now: RouteConfig }[] = []
  const removed: RouteConfig[] = []
  for (const old of before) {
    const now = open.get(nameOf(old))?.shift()
    if (now === undefined) removed.push(old)
    else pairs.push({ old, now })
  }
  return { pairs, added: [...open.values()].flat(), removed }
}

const nameOf = ({ name, path }: RouteConfig): string => name ?? path

function counted(routes: readonly RouteConfig[], [one, many]: Verb): string | null {
  if (routes.length === 0) return null
  const subject = routes.length === 1 ? `route ${one}` : `routes ${many}`
  return `${routes.length} ${subject}: ${routes.map(nameOf).join(', ')}`
}

/** Sections and keys in which credentials may stand: that they changed is all that is told. */
const SECRET = /(?:^|\.)(?:secret|key|keys|password|token|credentials)$|^redis\.url/i
const URL_CREDENTIALS = /\/\/[^/@\s]*@/g

/** A line for each key that differs, with both values. */
function differences(before: unknown, after: unknown): string[] {
  return differencesOf(before, after, { isSection, isSame: shownSame }).map(({ place, before, after }) =>
    SECRET.test(place) ? `${place}  changed` : `${place}  ${shown(before)} → ${shown(after)}`,
  )
}

const isSection = (value: unknown, place: string): value is Record<string, unknown> =>
  isObject(value) && !SECRET.test(place)

/** Each load of a config module makes functions anew. */
function shownSame(before: unknown, after: unknown): boolean {
  if (Array.isArray(before) && Array.isArray(after))
    return before.length === after.length && before.every((each, index) => shownSame(each, after[index]))
  return typeof before === 'function' && typeof after === 'function' && String(before) === String(after)
}

function shown(value: unknown): string {
  if (value === undefined) return 'none'
  if (typeof value === 'function') return value.name || 'policy'
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`
  // A pattern of origins
  if (isObject(value) && typeof value.text === 'string') return value.text
  const text = typeof value === 'string' ? value : JSON.stringify(value, redacted)
  return text.replace(URL_CREDENTIALS, '//***@')
}

const redacted = (key: string, value: unknown): unknown => (SECRET.test(key) ? '***' : value)
