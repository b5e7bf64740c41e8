/** Reads a config file: YAML, JSON or TypeScript, as plain data with the place of everything in it. */

import { createHash } from 'node:crypto'
import { existsSync, realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire, registerHooks } from 'node:module'
import { extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Environment } from './env.ts'
import type { Problem, SchemaProblem } from './problem.ts'

const NAMES = ['ts', 'mts', 'js', 'mjs', 'yaml', 'yml', 'json'].map(
  extension => `gateway.config.${extension}`,
)

/**
 * What a file said when it was read. The text of a module is of no use alone, since it imports others by their place:
 * its digest tells whether the file has changed since.
 */
export type FileSource =
  | { readonly kind: 'data'; readonly path: string; readonly text: string }
  | { readonly kind: 'module'; readonly path: string; readonly digest: string }

export interface ConfigFile {
  readonly path: string
  readonly value: unknown
  readonly source: FileSource
  /** Line and column of the value at a path, where the format knows them. */
  position(path: readonly PropertyKey[]): { line: number; column: number } | null
}

/** The config file that a directory has, or null. */
export function findConfigFile(directory: string): string | null {
  return NAMES.map(name => resolve(directory, name)).find(path => existsSync(path)) ?? null
}

/**
 * @param text of a data file, where it was read before; the file itself is left alone then
 * @returns the file, or the problem that keeps it from being read
 */
export async function readConfigFile(path: string, text?: string): Promise<ConfigFile | Problem> {
  const extension = extname(path).toLowerCase()
  try {
    switch (extension) {
      case '.yaml':
      case '.yml':
      case '.json':
        return await readYaml(path, text ?? (await readFile(path, 'utf8')))
      case '.ts':
      case '.mts':
      case '.js':
      case '.mjs':
        return await importModule(path)
      default:
        return {
          place: path,
          message: `has the ending ${extension || '(none)'}: use .ts, .js, .yaml, .yml or .json`,
        }
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return {
      place: path,
      message: code === 'ENOENT' ? 'does not exist' : `cannot be read: ${firstLine(message)}`,
    }
  }
}

/** Loaded only for configs in YAML or JSON. It is CommonJS, which the bundle offers as its default export alone. */
async function importYaml(): Promise<typeof import('yaml')> {
  const module = await import('yaml')
  return 'LineCounter' in module ? module : (module as { default: typeof import('yaml') }).default
}

async function readYaml(path: string, text: string): Promise<ConfigFile | Problem> {
  // What a file is for a moment while it is written anew. A reload would take it for one that wants nothing.
  if (text.trim() === '') return { place: path, message: 'is empty: write {} if nothing is to be set' }
  const { LineCounter, parseDocument } = await importYaml()
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  const [error] = document.errors
  if (error !== undefined) {
    const at = lines.linePos(error.pos[0])
    return {
      place: `${path}:${at.line}:${at.col}`,
      message: firstLine(error.message).replace(/ at line \d+.*$/, ''),
    }
  }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 100 }) ?? {}
  } catch {
    // The parser's own words would repeat what may be a secret
    return { place: path, message: 'has an alias (*name) without its anchor, or too many of them' }
  }
  return {
    path,
    value,
    source: { kind: 'data', path, text },
    position(steps) {
      for (let length = steps.length; length >= 0; length--) {
        const node = document.getIn(steps.slice(0, length), true) as
          | { range?: [number, number, number] }
          | undefined
        if (!node?.range) continue
        const at = lines.linePos(node.range[0])
        return { line: at.line, column: at.col }
      }
      return null
    },
  }
}

let hooked = false

/** Lets configs import `nyro-gateway` wherever they lie, without an installed copy of it beside them. */
function resolveOwnName(): void {
  if (hooked) return
  hooked = true
  // Beside src/config in the sources, beside this file in the bundle
  const places = ['../index.ts', './index.js'].map(path => new URL(path, import.meta.url))
  const own = places.find(place => existsSync(place))!.href
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === 'nyro-gateway' ? { url: own, shortCircuit: true } : next(specifier, context),
  })
}

async function importModule(path: string): Promise<ConfigFile | Problem> {
  if (!existsSync(path)) return { place: path, message: 'does not exist' }
  resolveOwnName()
  // Before the import: of a file that changes meanwhile the next look must not believe that it is known.
  const digest = createHash('sha256')
    .update(await readFile(path))
    .digest('base64url')
  const module = await importVersion(path, digest)
  if (module.default === undefined) {
    return { place: path, message: 'has no default export: write `export default defineGateway({ … })`' }
  }
  return {
    path,
    value: module.default,
    source: { kind: 'module', path, digest },
    position: () => null,
  }
}

/** The digest under which each file was imported first. */
const firstDigests = new Map<string, string>()
/** How often the import of a version has failed: what fails, fails for ever under its URL. */
const failures = new Map<string, number>()

/**
 * Modules are kept by their URL: the same text gives the same module with the same functions, another text another
 * one. The first has the plain URL. What a module imports itself stays as it was imported first.
 */
async function importVersion(path: string, digest: string): Promise<{ default?: unknown }> {
  const url = pathToFileURL(path)
  const first = firstDigests.get(path) ?? digest
  firstDigests.set(path, first)
  const version = `${digest}.${path}`
  const failed = failures.get(version) ?? 0
  if (digest !== first || failed > 0) {
    url.searchParams.set('v', failed === 0 ? digest : `${digest}.${failed}`)
    // CommonJS is kept by its path
    delete createRequire(import.meta.url).cache[realpathSync(path)]
  }
  try {
    return await import(url.href)
  } catch (error) {
    failures.set(version, failed + 1)
    throw error
  }
}

const MAX_DEPTH = 32

/** Replaces `${NAME}` and `${NAME:-default}` in every string; `$$` stands for one `$`. */
export function fillVariables(
  value: unknown,
  environment: Environment,
  problems: SchemaProblem[],
  path: readonly PropertyKey[] = [],
): unknown {
  const report = (message: string, at = path): void => void problems.push({ path: at, message })
  if (typeof value === 'string') {
    return value.replace(
      /\$\$|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g,
      (text, name?: string, fallback?: string) => {
        if (text === '$$' || name === undefined) return '$'
        const filled = (Object.hasOwn(environment, name) && environment[name]) || fallback
        if (filled === undefined) report(`\${${name}} is not set in the environment`)
        return filled ?? ''
      },
    )
  }
  const isPlain =
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  if (!Array.isArray(value) && !isPlain) return value
  if (path.length > MAX_DEPTH) {
    report('is nested too deep, or refers to itself', path.slice(0, 2))
    return null
  }
  if (Array.isArray(value)) {
    return value.map((item, index) => fillVariables(item, environment, problems, [...path, index]))
  }
  const filled: [string, unknown][] = []
  for (const [key, item] of Object.entries(value as object)) {
    if (key === '__proto__') report('is not a known key', [...path, key])
    else filled.push([key, fillVariables(item, environment, problems, [...path, key])])
  }
  return Object.fromEntries(filled)
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!
}
