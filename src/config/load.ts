/** Config file and environment → one parsed, defaulted, frozen configuration, or everything that is wrong with it. */

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { quotaWarnings } from './check-limits.ts'
import { defaultRoutes } from './default-routes.ts'
import { parseDotenv } from './dotenv.ts'
import { type AllowedOrigins, byUpperName, type Environment, readEnvironment } from './env.ts'
import { weakerFallbacks } from './fallbacks.ts'
import { type ConfigFile, type FileSource, fillVariables, findConfigFile, readConfigFile } from './file.ts'
import { isObject, parseOptions } from './parse.ts'
import { dotted, type Problem, type SchemaProblem } from './problem.ts'
import type { GatewayConfig, GatewayOptions } from './schema.ts'
import { certificateWarnings } from './tls.ts'

export interface LoadOptions {
  /** Config file; default: GATEWAY_CONFIG, or gateway.config.* in the directory. */
  readonly file?: string | undefined
  /** A configuration in the program itself, instead of a file. */
  readonly options?: GatewayOptions
  readonly env?: Environment
  readonly directory?: string
  /** Read `.env` of the directory as well; the environment wins over it. */
  readonly dotenv?: boolean
  /** What was loaded before, in place of all the others: the same again, whatever the files say by now. */
  readonly source?: ConfigSource
}

/** What a configuration was made of. Plain data, so that other threads can make the same of it. */
export interface ConfigSource {
  readonly directory: string
  /** As it was, without `.env`. */
  readonly env: Environment
  /** Text of `.env`. */
  readonly dotenv: string
  readonly file: FileSource | null
}

export type Loaded =
  | {
      readonly config: GatewayConfig
      readonly problems: readonly []
      readonly file: string | null
      readonly warnings: readonly string[]
      readonly source: ConfigSource
    }
  | {
      readonly config: null
      readonly problems: readonly Problem[]
      readonly file: string | null
      readonly warnings: readonly string[]
    }

export async function loadConfig(options: LoadOptions = {}): Promise<Loaded> {
  const before = options.source
  const directory = before?.directory ?? options.directory ?? process.cwd()
  const dotenvText = before?.dotenv ?? (options.dotenv === false ? '' : readDotenv(directory))
  if (dotenvText instanceof Error) {
    const problem = { place: '.env', message: dotenvText.message }
    return { config: null, problems: [problem], file: null, warnings: [] }
  }
  const dotenv = parseDotenv(dotenvText)
  const own = before?.env ?? { ...(options.env ?? process.env) }
  const environment = { ...dotenv, ...own }
  const settings = Object.fromEntries([...byUpperName(dotenv), ...byUpperName(own)])
  const fromEnvironment = readEnvironment(settings)
  const warnings = fromEnvironment.suspicious.map(
    ({ name, meant }) => `${name} is not a setting: did you mean ${meant}?`,
  )
  const path = pathOf(options, settings, directory)
  const fail = (problems: readonly Problem[]): Loaded => ({ config: null, problems, file: path, warnings })

  const file = path === null ? null : await readConfigFile(resolve(directory, path), textOf(before))
  if (file !== null && 'message' in file) return fail([file])
  const unset: SchemaProblem[] = []
  const written = fillVariables(file === null ? (options.options ?? {}) : file.value, environment, unset)
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

  const { config, found } = parseOptions(merged)
  // A variable that is not set leaves an empty text, whose own faults are no news.
  const told = new Set(unset.map(({ path }) => dotted(path)))
  const problems: Problem[] = []
  for (const problem of [...unset, ...found.filter(({ path }) => !told.has(dotted(path)))]) {
    const { place, message } = locate(problem, origins, file)
    if (!problems.some(known => known.place === place && known.message === message))
      problems.push({ place, message })
  }
  if (config === null || problems.length > 0) return fail(problems)
  warnings.push(...weakerFallbacks(config), ...certificateWarnings(config), ...quotaWarnings(config))
  const source = { directory, env: own, dotenv: dotenvText, file: file?.source ?? null }
  return { config: deepFreeze(config), problems: [], file: path, warnings, source }
}

function pathOf(options: LoadOptions, settings: Environment, directory: string): string | null {
  if (options.source !== undefined) return options.source.file?.path ?? null
  if (options.options !== undefined) return null
  return options.file ?? (settings.GATEWAY_CONFIG || findConfigFile(directory))
}

function textOf(source: ConfigSource | undefined): string | undefined {
  return source?.file?.kind === 'data' ? source.file.text : undefined
}

/** @returns the text of `.env`, or what keeps it from being read */
function readDotenv(directory: string): string | Error {
  try {
    return readFileSync(join(directory, '.env'), 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? '' : new Error(`cannot be read (${code})`)
  }
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

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || value instanceof RegExp)
    return value
  for (const item of Object.values(value)) deepFreeze(item)
  return Object.freeze(value)
}
