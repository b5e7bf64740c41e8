/**
 * HTTP field names and values: the rules every other part asks here.
 *
 * Field lists are flat arrays (`[name, value, name, value, …]`) in wire order, the form in which `node:http`
 * delivers and accepts them: no object keys that a client can choose, repeated fields stay apart.
 */

export type FieldLines = string[]

/**
 * Who owns a request field on its way upstream.
 * - `end-to-end`: the client; it passes
 * - `hop`: one connection (RFC 9110 §7.6.1); it stays behind
 * - `framing`: the gateway writes its own, from what its parser understood
 * - `forwarding`: the gateway writes its own, from what it saw of the peer
 */
export type FieldOwner = 'end-to-end' | 'hop' | 'framing' | 'forwarding'

/** A field name as it is compared: `lower` for HTTP, `canonical` for what a lax server might take it for. */
export interface FieldName {
  readonly lower: string
  /** Lower case, each character other than a letter or digit turned into `-` (`X_Company.ID` → `x-company-id`). */
  readonly canonical: string
  readonly owner: FieldOwner
  /** It is a name at all (RFC 9110 §5.6.2). */
  readonly isToken: boolean
}

const MAX_CACHED_NAMES = 2048
const MAX_CACHED_NAME_LENGTH = 64
const names = new Map<string, FieldName>()

/**
 * The comparable form of a field name. Names repeat from request to request, so both forms are looked up
 * rather than computed; the table is bounded because clients choose the names.
 */
export function fieldName(raw: string): FieldName {
  const known = names.get(raw)
  if (known !== undefined) return known
  // A piece of a larger text would keep all of it in memory.
  if (raw.length <= MAX_CACHED_NAME_LENGTH) return remember(Buffer.from(raw).toString())
  return describe(raw)
}

function describe(raw: string): FieldName {
  const lower = raw.toLowerCase()
  const canonical = canonicalName(raw)
  return { lower, canonical, owner: ownerOf(canonical), isToken: isToken(raw) }
}

function remember(raw: string): FieldName {
  const name = describe(raw)
  // Emptied rather than closed when full: one request full of odd names must not keep the common ones out for good.
  if (names.size >= MAX_CACHED_NAMES) names.clear()
  names.set(raw, name)
  return name
}

/**
 * Servers in the CGI tradition cannot tell `X_Company_ID` from `X-Company-ID`: for deciding what must not pass,
 * they are one name.
 */
export function canonicalName(raw: string): string {
  return raw.toLowerCase().replace(/[^a-z0-9]/g, '-')
}

/** RFC 9110 §5.6.2 token: field names and methods. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** RFC 9110 §5.5: what must never stand in a field value on the wire. Latin-1 text (obs-text) may. */
const UNSAFE_VALUE = /[^\t\x20-\x7e\x80-\xff]/

export function isToken(text: string): boolean {
  return TOKEN.test(text)
}

export function isFieldValue(text: string): boolean {
  return !UNSAFE_VALUE.test(text)
}

/** RFC 9110 §7.6.1 and the fields that only ever concern one connection. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

const FRAMING: ReadonlySet<string> = new Set(['content-length', 'expect', 'host'])
const FORWARDING: ReadonlySet<string> = new Set(['forwarded', 'x-real-ip', 'x-request-id'])

function ownerOf(canonical: string): FieldOwner {
  if (HOP_BY_HOP.has(canonical)) return 'hop'
  if (FRAMING.has(canonical)) return 'framing'
  if (FORWARDING.has(canonical) || canonical.startsWith('x-forwarded-')) return 'forwarding'
  return 'end-to-end'
}

/**
 * Fields that have no business in a trailer section (RFC 9110 §6.5.1): framing, routing, authentication,
 * request modifiers and whatever the gateway itself asserts.
 */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'age',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expect',
  'expires',
  'forwarded',
  'host',
  'location',
  'max-forwards',
  'pragma',
  'range',
  'retry-after',
  'set-cookie',
  'trailer',
  'vary',
  'via',
  'warning',
  'www-authenticate',
  'x-process-time',
  'x-request-id',
])

/** Trailer fields that may pass; those in `refused` (canonical names) and all request-shaping ones stay behind. */
export function passableTrailers(trailers: FieldLines, refused?: ReadonlySet<string>): FieldLines {
  if (trailers.length === 0) return trailers
  const passed: FieldLines = []
  for (let i = 0; i < trailers.length; i += 2) {
    const name = fieldName(trailers[i]!)
    if (NOT_IN_TRAILERS.has(name.canonical) || name.owner !== 'end-to-end') continue
    if (name.canonical.startsWith('access-control-') || refused?.has(name.canonical)) continue
    passed.push(trailers[i]!, trailers[i + 1]!)
  }
  return passed
}

/** First value of a field in a flat list, or undefined. `lower` is the lower-case name. */
export function findField(fields: readonly string[], lower: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) {
    if (fieldName(fields[i]!).lower === lower) return fields[i + 1]
  }
  return undefined
}

/** Removes every line of a field from a flat list, in place. */
export function removeField(fields: FieldLines, lower: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) {
    if (fieldName(fields[i]!).lower === lower) fields.splice(i, 2)
  }
}

/** Replaces all lines of a field by one, in place. */
export function setField(fields: FieldLines, name: string, value: string): void {
  removeField(fields, name.toLowerCase())
  fields.push(name, value)
}

/** The lower-case options of all `Connection` values (RFC 9110 §7.6.1), or null where there are none. */
export function connectionOptions(values: readonly string[]): Set<string> | null {
  let options: Set<string> | null = null
  for (const value of values) {
    if (value === 'keep-alive' || value === 'close') continue
    for (const part of value.split(',')) {
      const option = part.trim().toLowerCase()
      if (option === '' || option === 'keep-alive' || option === 'close') continue
      options ??= new Set()
      options.add(option)
    }
  }
  return options
}

/** A value without the optional white space around it: SP and HTAB only (RFC 9110 §5.6.3), unlike `trim()`. */
export function withoutOuterSpace(value: string): string {
  let start = 0
  let end = value.length
  while (start < end && isSpace(value.charCodeAt(start))) start++
  while (end > start && isSpace(value.charCodeAt(end - 1))) end--
  return start === 0 && end === value.length ? value : value.slice(start, end)
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09
}
