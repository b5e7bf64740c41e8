/** Values that people write in configs: durations, sizes, networks, origins, URLs. Each schema gives the parsed form. */

import { isIP } from 'node:net'
import * as z from 'zod'

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 }

/** Seconds as a number, or text with a unit: `60`, `"500ms"`, `"2m"`. Gives seconds. */
export const duration = z.union([z.number(), z.string()]).transform((value, context) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(String(value))
  const seconds = match === null ? Number.NaN : Number(match[1]) * (DURATION_UNITS[match[2] ?? 's'] ?? 1)
  if (Number.isFinite(seconds) && seconds <= 2_000_000) return seconds
  context.addIssue({
    code: 'custom',
    message: 'is no duration: write seconds (60) or a unit ("500ms", "2m")',
  })
  return z.NEVER
})

const SIZE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
}

/** Bytes as a number, or text with a unit: `1048576`, `"10MiB"`. Gives bytes. */
export const size = z.union([z.number(), z.string()]).transform((value, context) => {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?i?b)?$/i.exec(String(value))
  const bytes =
    match === null ? Number.NaN : Number(match[1]) * (SIZE_UNITS[(match[2] ?? 'b').toLowerCase()] ?? 1)
  if (Number.isSafeInteger(Math.round(bytes))) return Math.round(bytes)
  context.addIssue({ code: 'custom', message: 'is no size: write bytes (1048576) or a unit ("10MiB")' })
  return z.NEVER
})

/** What an integer of a structured field may be at most (RFC 9651 §3.3.1): amounts become such in `RateLimit-Policy`. */
export const MAX_AMOUNT = 999_999_999_999_999

/** How much of something there may be: a count, or bytes with a unit (`1000`, `"10MiB"`); at least 1, and no part of one. */
export const amount = z
  .union([z.number(), z.string()])
  .refine(value => !(Number(value) % 1 > 0), 'must be a whole number')
  .pipe(size)
  .refine(value => value >= 1, 'must be at least 1')
  .refine(value => value <= MAX_AMOUNT, `must be at most ${MAX_AMOUNT}`)

/** A name of the IANA time zone database, as `Europe/Madrid`, or `UTC`. */
export const timeZone = z.string().refine(isTimeZone, {
  error: ({ input }) => `${JSON.stringify(input)} is no time zone: write a name like Europe/Madrid, or UTC`,
})

function isTimeZone(name: string): boolean {
  // Offsets such as +02:00 are accepted there too, but no company lives by one
  if (!/^[A-Za-z]/.test(name)) return false
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** A port to listen on; 0 lets the system choose. */
export const port = z.union([z.number(), z.string()]).transform((value, context) => {
  const number = /^\d{1,5}$/.test(String(value)) ? Number(value) : Number.NaN
  if (number <= 65_535) return number
  context.addIssue({ code: 'custom', message: 'is no port: write a number from 0 to 65535' })
  return z.NEVER
})

/** An address or a network: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`. */
export const network = z
  .string()
  .transform((value, context): { address: string; prefix: number; family: 'ipv4' | 'ipv6' } => {
    const [address = '', bits, ...rest] = value.split('/')
    const version = isIP(address)
    const most = version === 4 ? 32 : 128
    const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN
    if (version !== 0 && prefix <= most && rest.length === 0) {
      return { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' }
    }
    context.addIssue({ code: 'custom', message: 'is no address or network: write 10.0.0.7 or 10.0.0.0/8' })
    return z.NEVER
  })

/** A browser origin: scheme, host and port, nothing else (`https://app.example.com`). */
export const origin = z.string().transform((value, context) => {
  const parsed = URL.canParse(value) ? new URL(value) : null
  const isOrigin =
    parsed !== null && /^https?:$/.test(parsed.protocol) && /^https?:\/\/[^/?#@\\]+\/?$/i.test(value)
  if (isOrigin && !value.includes('*')) return parsed.origin
  context.addIssue({
    code: 'custom',
    message: value.includes('*')
      ? 'has a wildcard: exact origins only here; patterns go to originPatterns (https://app-*.example.com)'
      : 'is no origin: write scheme, host and port only, like https://app.example.com',
  })
  return z.NEVER
})

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: ':80', https: ':443' }

/** Patterns of the same text are equal, so that a configuration can be held against another one. */
export class OriginPattern {
  readonly text: string
  readonly #fits: (origin: string) => boolean

  constructor(text: string, fits: (origin: string) => boolean) {
    this.text = text
    this.#fits = fits
  }

  /** Whether an origin as browsers send it fits. Takes time in proportion to its length. */
  matches(origin: string): boolean {
    return this.#fits(origin)
  }
}

/**
 * An origin with `*` in its host, each standing for one or more letters, digits or hyphens within one label:
 * `https://nyro-*-team.vercel.app`. The last two labels must be literal, so that no foreign domain fits.
 */
export const originPattern = z.string().transform((value, context): OriginPattern => {
  const match = /^(https?):\/\/([a-z0-9*.-]+)(:\d{1,5})?$/i.exec(value)
  const labels = match?.[2]?.toLowerCase().split('.') ?? []
  const fixed = labels.slice(-2)
  if (match !== null && labels.length >= 3 && fixed.every(label => /^[a-z0-9-]+$/.test(label))) {
    const scheme = match[1]!.toLowerCase()
    // Browsers leave out the port that a scheme implies
    const port = match[3] === DEFAULT_PORTS[scheme] ? '' : (match[3] ?? '')
    return new OriginPattern(value, origin => originFits(origin, `${scheme}://`, labels, port))
  }
  context.addIssue({
    code: 'custom',
    message:
      'is no origin pattern: * only in labels left of the registered domain, like https://app-*.example.com',
  })
  return z.NEVER
})

/** The longest host name and a scheme and port around it. */
const MAX_ORIGIN_LENGTH = 270

function originFits(origin: string, start: string, labels: readonly string[], port: string): boolean {
  if (origin.length > MAX_ORIGIN_LENGTH || !origin.startsWith(start) || !origin.endsWith(port)) return false
  const parts = origin.slice(start.length, origin.length - port.length).split('.')
  return parts.length === labels.length && parts.every((part, index) => labelFits(part, labels[index]!))
}

/**
 * `*` stands for one character or more. Not a regular expression, whose time grows with a power of the length for
 * every further `*`: strangers choose what is matched here. (The classic two-pointer match, with one step back.)
 */
function labelFits(text: string, pattern: string): boolean {
  if (!/^[a-z0-9-]+$/.test(text)) return false
  let at = 0
  let star = -1
  let starAt = 0
  let p = 0
  while (at < text.length) {
    if (pattern[p] === '*') {
      star = p++
      starAt = ++at
    } else if (p < pattern.length && pattern[p] === text[at]) {
      p++
      at++
    } else if (star !== -1) {
      p = star + 1
      at = ++starAt
    } else return false
  }
  return p === pattern.length
}

/** An http or https URL without credentials, query or fragment. Gives the URL without a trailing slash. */
export const httpUrl = z.string().transform((value, context) => {
  const parsed = URL.canParse(value) ? new URL(value) : null
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.hostname === '') {
    context.addIssue({ code: 'custom', message: 'is no http(s) URL: write http://host:port' })
    return z.NEVER
  }
  if (parsed.username !== '' || parsed.password !== '' || parsed.hash !== '') {
    context.addIssue({ code: 'custom', message: 'must not have credentials or a fragment' })
    return z.NEVER
  }
  return value.replace(/\/+$/, '')
})

/** The same for services, which have no query either. */
export const serviceUrl = httpUrl.refine(value => !value.includes('?'), 'must not have a query')
