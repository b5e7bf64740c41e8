/** Config file and environment → one parsed, defaulted, frozen configuration, or everything that is wrong with it. */

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { checkConfig } from './check.ts'
import { defaultRoutes } from './default-routes.ts'
import { parseDotenv } from './dotenv.ts'
import { type AllowedOrigins, byUpperName, type Environment, readEnvironment } from './env.ts'
import { weakerFallbacks } from './fallbacks.ts'
import { type ConfigFile, fillVariables, findConfigFile, readConfigFile } from './file.ts'
import { describeIssues, dotted, type Problem, type SchemaProblem } from './problem.ts'
import { type GatewayConfig, type GatewayOptions, gatewaySchema } from './schema.ts'

export interface LoadOptions {
  /** Config file; default: GATEWAY_CONFIG, or gateway.config.* in the directory. */
  readonly file?: string | undefined
  /** A configuration in the program itself, instead of a file. */
  readonly options?: GatewayOptions
  readonly env?: Environment
  readonly directory?: string
  /** Read `.env` of the directory as well; the environment wins over it. */
  readonly dotenv?: boolean
}

export type Loaded =
  | {
      readonly config: GatewayConfig
      readonly problems: readonly []
      readonly file: string | null
      readonly warnings: readonly string[]
    }
  | {
      readonly config: null
      readonly problems: readonly Problem[]
      readonly file: string | null
      readonly warnings: readonly string[]
    }

export async function loadConfig(options: LoadOptions = {}): Promise<Loaded> {
  const directory = options.directory ?? process.cwd()
  const dotenv = options.dotenv === false ? {} : readDotenv(directory)
  if (dotenv instanceof Error) {
    const problem = { place: '.env', message: dotenv.message }
    return { config: null, problems: [problem], file: null, warnings: [] }
  }
  const own = options.env ?? process.env
  const environment = { ...dotenv, ...own }
  const settings = Object.fromEntries([...byUpperName(dotenv), ...byUpperName(own)])
  const fromEnvironment = readEnvironment(settings)
  const warnings = fromEnvironment.suspicious.map(
    ({ name, meant }) => `${name} is not a setting: did you mean ${meant}?`,
  )
  const path =
    options.options === undefined
      ? (options.file ?? (settings.GATEWAY_CONFIG || findConfigFile(directory)))
      : null
  const fail = (problems: readonly Problem[]): Loaded => ({ config: null, problems, file: path, warnings })

  const file = path === null ? null : await readConfigFile(resolve(directory, path))
  if (file !== null && 'message' in file) return fail([file])
  const problems: Problem[] = []
  const written = fillVariables(file === null ? (options.options ?? {}) : file.value, environment, problems)
  if (!isObject(written))
    return fail([{ place: path ?? '', message: 'must hold an object with the settings' }])

  const merged = { ...written }
  const origins = new Map(fromEnvironment.origins)
  if (written.routes === undefined) {
    const services = defaultRoutes(settings)
    merged.routes = services.options.routes
    merged.upstreams = {
      ...services.options.upstreams,
      ...(isObject(written.upstreams) ? written.upstreams : {}),
    }
    for (const [place, name] of services.origins) origins.set(place, name)
  }
  mergeEnvironment(merged, fromEnvironment.options)
  mergeOrigins(merged, fromEnvironment.allowedOrigins, origins)

  const { config, found } = parse(merged)
  for (const problem of found.map(problem => locate(problem, origins, file))) {
    if (!problems.some(({ place, message }) => place === problem.place && message === problem.message))
      problems.push(problem)
  }
  if (config === null || problems.length > 0) return fail(problems)
  warnings.push(...weakerFallbacks(config))
  return { config: deepFreeze(config), problems: [], file: path, warnings }
}

/** Parses and checks. What is wrong with the form of one part does not hide what is wrong with another. */
function parse(options: Record<string, unknown>): {
  config: GatewayConfig | null
  found: readonly SchemaProblem[]
} {
  const parsed = gatewaySchema.safeParse(options)
  if (parsed.success) return { config: parsed.data, found: checkConfig(parsed.data) }
  const found = describeIssues(parsed.error.issues, { keysAt, isPresent: path => isPresent(options, path) })
  const sound = gatewaySchema.safeParse(
    withoutParts(
      options,
      found.map(({ path }) => path),
    ),
  )
  return { config: null, found: sound.success ? [...found, ...checkConfig(sound.data)] : found }
}

/** Stands in for a faulty entry of a list or table, so that the others keep their places and are checked. */
const SOUND_ENTRIES: Readonly<Record<string, (place: string) => unknown>> = {
  routes: place => ({ path: `/placeholder-${place}`, auth: 'none', respond: {} }),
  upstreams: () => ({ url: 'http://placeholder.invalid' }),
}

/** A copy with the faulty parts taken out, or replaced by sound ones where that would move others. */
function withoutParts(
  options: Record<string, unknown>,
  paths: readonly (readonly PropertyKey[])[],
): Record<string, unknown> {
  const copy = { ...options }
  for (const path of paths) {
    const [table, place] = path.map(String)
    const entries = copy[table!]
    const sound = SOUND_ENTRIES[table!]
    if (place === undefined || sound === undefined) removeAt(copy, path.map(String))
    else if (Array.isArray(entries)) copy[table!] = entries.with(Number(place), sound(place))
    else if (isObject(entries)) copy[table!] = { ...entries, [place]: sound(place) }
  }
  return copy
}

function removeAt(target: Record<string, unknown>, [step, ...rest]: readonly string[]): void {
  if (step === undefined) return
  const inner = target[step]
  if (rest.length === 0 || !isObject(inner)) {
    delete target[step]
    return
  }
  const copy = { ...inner }
  target[step] = copy
  removeAt(copy, rest)
}

/** @returns the variables of `.env`, or what keeps them from being read */
function readDotenv(directory: string): Environment | Error {
  try {
    return parseDotenv(readFileSync(join(directory, '.env'), 'utf8'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? {} : new Error(`cannot be read (${code})`)
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The environment wins over the file, since it is nearer to the machine. */
function mergeEnvironment(target: Record<string, unknown>, source: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(source)) {
    const present = target[key]
    if (isObject(value) && (isObject(present) || present === undefined)) {
      const copy = { ...(present as Record<string, unknown> | undefined) }
      mergeEnvironment(copy, value)
      target[key] = copy
    } else target[key] = value
  }
}

/** What a page under development is served from; allowed while nothing else is said. */
const DEFAULT_ORIGIN = 'http://localhost:3000'

/** Origins of file and environment are allowed together; `cors: false` in the file stays the last word. */
function mergeOrigins(
  target: Record<string, unknown>,
  allowed: AllowedOrigins,
  places: Map<string, string>,
): void {
  const written = target.cors ?? (allowed.listed ? {} : { origins: [DEFAULT_ORIGIN] })
  if (!isObject(written)) return
  const origins = written.origins ?? []
  const patterns = written.originPatterns ?? []
  if (!Array.isArray(origins) || !Array.isArray(patterns)) return
  for (const [index, { name }] of allowed.origins.entries())
    places.set(`cors.origins.${origins.length + index}`, name)
  for (const index of allowed.patterns.keys()) {
    places.set(`cors.originPatterns.${patterns.length + index}`, 'GATEWAY_CORS_ORIGINS')
  }
  target.cors = {
    ...written,
    origins: [...origins, ...allowed.origins.map(({ origin }) => origin)],
    originPatterns: [...patterns, ...allowed.patterns],
  }
}

function locate(
  { path, message }: SchemaProblem,
  origins: ReadonlyMap<string, string>,
  file: ConfigFile | null,
): Problem {
  for (let length = path.length; length > 0; length--) {
    const variable = origins.get(path.slice(0, length).map(String).join('.'))
    if (variable !== undefined) return { place: variable, message }
  }
  const name = dotted(path) || 'config'
  if (file === null) return { place: name, message }
  const at = file.position(path)
  return {
    place: at === null ? `${file.path}: ${name}` : `${file.path}:${at.line}:${at.column}: ${name}`,
    message,
  }
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

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || value instanceof RegExp)
    return value
  for (const item of Object.values(value)) deepFreeze(item)
  return Object.freeze(value)
}
