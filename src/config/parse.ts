/** The configuration held against its schema and its checks: what came of it, or everything that is wrong with it. */

import { checkConfig } from './check.ts'
import { describeIssues, type SchemaProblem } from './problem.ts'
import { type GatewayConfig, gatewaySchema } from './schema.ts'

/** Parses and checks. What is wrong with the form of one part does not hide what is wrong with another. */
export function parseOptions(options: Record<string, unknown>): {
  config: GatewayConfig | null
  found: readonly SchemaProblem[]
} {
  const parsed = gatewaySchema.safeParse(options)
  if (parsed.success) return { config: parsed.data, found: checkConfig(parsed.data) }
  const describe = (issues: typeof parsed.error.issues, of: Record<string, unknown>): SchemaProblem[] =>
    describeIssues(issues, { keysAt, isPresent: path => isPresent(of, path) })
  const found = describe(parsed.error.issues, options)
  // The faulty values go first; an entry that cannot do without them goes as a whole.
  const trimmed = withoutParts(options, found, removeAt)
  const again = gatewaySchema.safeParse(trimmed)
  if (again.success) return { config: null, found: [...found, ...checkConfig(again.data)] }
  const sound = withoutParts(trimmed, describe(again.error.issues, trimmed), replaceEntry)
  const last = gatewaySchema.safeParse(sound)
  return { config: null, found: last.success ? [...found, ...checkConfig(last.data)] : found }
}

type Removal = (options: Record<string, unknown>, path: readonly string[]) => Record<string, unknown>

function withoutParts(
  options: Record<string, unknown>,
  problems: readonly SchemaProblem[],
  remove: Removal,
): Record<string, unknown> {
  return problems.reduce((rest, { path }) => remove(rest, path.map(String)), options)
}

/** Stands in for a faulty entry of a list or table, so that the others keep their places and are checked. */
const SOUND_ENTRIES: Readonly<Record<string, (place: string) => unknown>> = {
  routes: place => ({ path: `/placeholder-${place}`, auth: 'none', respond: {} }),
  upstreams: () => ({ url: 'http://placeholder.invalid' }),
}

function replaceEntry(options: Record<string, unknown>, path: readonly string[]): Record<string, unknown> {
  const [table, place] = path
  const entries = options[table!]
  const sound = SOUND_ENTRIES[table!]
  if (place === undefined || sound === undefined) return removeAt(options, path)
  if (Array.isArray(entries)) return { ...options, [table!]: entries.with(Number(place), sound(place)) }
  return isObject(entries) ? { ...options, [table!]: { ...entries, [place]: sound(place) } } : options
}

/** A copy without the value at a path. An item of a list takes its list along, but for entries that have a stand-in. */
function removeAt(
  options: Record<string, unknown>,
  [step, ...rest]: readonly string[],
): Record<string, unknown> {
  if (step === undefined || !Object.hasOwn(options, step)) return options
  const inner = options[step]
  const [next, ...further] = rest
  if (isObject(inner) && next !== undefined) return { ...options, [step]: removeAt(inner, rest) }
  if (Array.isArray(inner) && next !== undefined && Object.hasOwn(SOUND_ENTRIES, step)) {
    const item: unknown = inner[Number(next)]
    if (isObject(item) && further.length > 0) {
      return { ...options, [step]: inner.with(Number(next), removeAt(item, further)) }
    }
    return replaceEntry(options, [step, next])
  }
  const { [step]: _removed, ...kept } = options
  return kept
}

function isPresent(options: unknown, path: readonly PropertyKey[]): boolean {
  let value = options
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return false
    value = (value as Record<PropertyKey, unknown>)[step]
  }
  return value !== undefined
}

/** The keys that the schema knows at a path, to help with misspelled ones. */
function keysAt(path: readonly PropertyKey[]): readonly string[] {
  let schema: SchemaNode | undefined = gatewaySchema as unknown as SchemaNode
  for (const step of path) {
    const objects: SchemaNode[] = unwrap(schema)
    schema = undefined
    for (const candidate of objects) {
      schema ??= candidate.shape?.[String(step)] ?? candidate._zod.def.valueType ?? candidate._zod.def.element
    }
  }
  return unwrap(schema).flatMap(candidate => Object.keys(candidate.shape ?? {}))
}

interface SchemaNode {
  readonly shape?: Record<string, SchemaNode>
  readonly _zod: {
    readonly def: {
      readonly innerType?: SchemaNode
      readonly options?: readonly SchemaNode[]
      readonly valueType?: SchemaNode
      readonly element?: SchemaNode
    }
  }
}

function unwrap(schema: SchemaNode | undefined): SchemaNode[] {
  if (schema === undefined) return []
  const { innerType, options } = schema._zod.def
  if (innerType !== undefined) return unwrap(innerType)
  return options === undefined ? [schema] : options.flatMap(unwrap)
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
