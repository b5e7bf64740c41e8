/** Config file and environment → one parsed, defaulted, frozen configuration, or everything that is wrong with it. */

import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { checkConfig } from './check.ts'
import { defaultRoutes } from './default-routes.ts'
import { type Environment, readEnvironment } from './env.ts'
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
  const environment = {
    ...(options.dotenv === false ? {} : readDotenv(directory)),
    ...(options.env ?? process.env),
  }
  const fromEnvironment = readEnvironment(environment)
  const warnings = fromEnvironment.suspicious.map(
    ({ name, meant }) => `${name} is not a setting: did you mean ${meant}?`,
  )
  const path =
    options.options === undefined
      ? (options.file ?? (environment.GATEWAY_CONFIG || findConfigFile(directory)))
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
    const services = defaultRoutes(environment)
    merged.routes = services.options.routes
    merged.upstreams = {
      ...services.options.upstreams,
      ...(isObject(written.upstreams) ? written.upstreams : {}),
    }
    for (const [place, name] of services.origins) origins.set(place, name)
  }
  mergeEnvironment(merged, fromEnvironment.options)

  const { config, found } = parse(merged)
  for (const problem of found.map(problem => locate(problem, origins, file))) {
    if (!problems.some(({ place, message }) => place === problem.place && message === problem.message))
      problems.push(problem)
  }
  if (config === null || problems.length > 0) return fail(problems)
  return { config: deepFreeze(config), problems: [], file: path, warnings }
}

/** Parses and checks. What is wrong with the form of one part does not hide what is wrong with another. */
function parse(options: Record<string, unknown>): {
  config: GatewayConfig | null
  found: readonly SchemaProblem[]
} {
  const parsed = gatewaySchema.safeParse(options)
  if (parsed.success) return { config: parsed.data, found: checkConfig(parsed.data) }
  const found = describeIssues(parsed.error.issues, keysAt)
  const sound = gatewaySchema.safeParse(
    withoutParts(
      options,
      found.map(({ path }) => path),
    ),
  )
  return { config: null, found: sound.success ? [...found, ...checkConfig(sound.data)] : found }
}

/** A copy without the values at some paths; a list or table of which one entry is faulty goes as a whole. */
function withoutParts(
  options: Record<string, unknown>,
  paths: readonly (readonly PropertyKey[])[],
): Record<string, unknown> {
  const copy = { ...options }
  for (const path of paths) {
    const listed = path.findIndex(
      (step, index) => typeof step === 'number' || path[index - 1] === 'upstreams',
    )
    removeAt(copy, (listed === -1 ? path : path.slice(0, listed)).map(String))
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

function readDotenv(directory: string): Environment {
  const path = join(directory, '.env')
  return existsSync(path) ? parseEnv(readFileSync(path, 'utf8')) : {}
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The environment wins over the file, since it is nearer to the machine; origins of both are allowed. */
function mergeEnvironment(target: Record<string, unknown>, source: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(source)) {
    if (key === '__proto__') continue
    const present = target[key]
    if (isObject(value) && (isObject(present) || present === undefined)) {
      const copy = { ...(present as Record<string, unknown> | undefined) }
      mergeEnvironment(copy, value)
      target[key] = copy
    } else if (Array.isArray(value) && Array.isArray(present)) {
      target[key] = [...present, ...value]
    } else if (!(isObject(value) && present === false)) {
      target[key] = value
    }
  }
}

function locate(
  { path, message }: SchemaProblem,
  origins: ReadonlyMap<string, string>,
  file: ConfigFile | null,
): Problem {
  const plain = path.map(String).join('.')
  const variable = origins.get(plain)
  if (variable !== undefined) return { place: variable, message }
  const name = dotted(path) || 'config'
  if (file === null) return { place: name, message }
  const at = file.position(path)
  return {
    place: at === null ? `${file.path}: ${name}` : `${file.path}:${at.line}:${at.column}: ${name}`,
    message,
  }
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
