import type * as z from 'zod'
import { nearest } from './env.ts'

/** One thing wrong with the configuration: where, and what to do about it. */
export interface Problem {
  /** A variable's name, a file with line and column, or a path within the config. */
  readonly place: string
  readonly message: string
}

/** `['routes', 2, 'auth']` → `routes[2].auth`. */
export function dotted(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    return text === '' ? String(step) : `${text}.${String(step)}`
  }, '')
}

export interface SchemaProblem {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

/** What was parsed, for those who describe what is wrong with it. */
export interface Parsed {
  /** The keys that are known at a path, for the misspelled. */
  keysAt(path: readonly PropertyKey[]): readonly string[]
  /** Whether anything was written at a path. */
  isPresent(path: readonly PropertyKey[]): boolean
}

/** Schema issues in words. */
export function describeIssues(issues: readonly z.core.$ZodIssue[], parsed: Parsed): SchemaProblem[] {
  return issues.flatMap(issue => describe(issue, parsed, []))
}

function describe(issue: z.core.$ZodIssue, parsed: Parsed, prefix: readonly PropertyKey[]): SchemaProblem[] {
  const path = [...prefix, ...issue.path]
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map(key => {
        const meant = nearest(key, parsed.keysAt(path))
        return {
          path: [...path, key],
          message: `is not a known key${meant === null ? '' : `: did you mean ${meant}?`}`,
        }
      })
    case 'invalid_union': {
      // The alternative that fits best is the one whose faults lie deeper than its own type.
      const inner = issue.errors.find(errors =>
        errors.some(error => error.path.length > 0 || !isTypeFault(error)),
      )
      if (inner !== undefined) return inner.flatMap(error => describe(error, parsed, path))
      return [{ path, message: `must be ${alternatives(issue.errors.flat()).join(' or ')}` }]
    }
    case 'invalid_type':
      return [
        {
          path,
          message: !parsed.isPresent(path)
            ? `is missing: must be ${a(issue.expected)}`
            : `must be ${a(issue.expected)}`,
        },
      ]
    case 'invalid_value':
      return [{ path, message: `must be ${oneOf(issue.values)}` }]
    case 'too_small':
      return [{ path, message: `must be at least ${issue.minimum}${unit(issue.origin)}` }]
    case 'too_big':
      return [{ path, message: `must be at most ${issue.maximum}${unit(issue.origin)}` }]
    case 'invalid_format':
      return [
        { path, message: 'prefix' in issue ? `must begin with ${String(issue.prefix)}` : issue.message },
      ]
    case 'invalid_key':
      return issue.issues.map(inner => ({ path, message: inner.message }))
    default:
      return [{ path, message: issue.message }]
  }
}

function isTypeFault(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value'
}

function alternatives(issues: readonly z.core.$ZodIssue[]): string[] {
  return [
    ...new Set(
      issues.map(issue => {
        if (issue.code === 'invalid_type') return a(issue.expected)
        return issue.code === 'invalid_value' ? oneOf(issue.values) : issue.message
      }),
    ),
  ]
}

function oneOf(values: readonly unknown[]): string {
  const texts = values.map(value => JSON.stringify(value))
  return texts.length === 1 ? texts[0]! : `one of ${texts.join(', ')}`
}

function a(type: string): string {
  const names: Record<string, string> = {
    int: 'a whole number',
    record: 'an object',
    boolean: 'true or false',
  }
  return names[type] ?? `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type}`
}

function unit(origin: string): string {
  if (origin === 'string') return ' characters long'
  return origin === 'array' ? ' entries long' : ''
}
