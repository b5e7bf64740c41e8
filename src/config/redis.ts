/** Where the Redis or Valkey is that several gateways share, and how to reach it. */

import * as z from 'zod'
import { duration } from './values.ts'

/** What a URL says: one server, several sentinels that know it, or some nodes of a cluster. */
export interface RedisTarget {
  readonly kind: 'single' | 'sentinel' | 'cluster'
  readonly tls: boolean
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  /** The name under which sentinels know the server; '' else. */
  readonly master: string
  readonly database: number
  readonly username: string
  readonly password: string
}

const FORM =
  'is no Redis URL: write redis://[:password@]host:6379[/database], redis+sentinel://host,host/name[/database] or redis+cluster://host,host; rediss… for TLS'
const PARTS = /^(redis|rediss)(\+sentinel|\+cluster)?:\/\/(?:([^@/]*)@)?([^@/?#]+)(\/[^?#]*)?$/
const HOST = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/
const DEFAULT_PORTS = { single: 6379, sentinel: 26_379, cluster: 6379 } as const

/** `redis://`, `rediss://` (TLS), and the same with `+sentinel` or `+cluster` behind and several hosts. */
export const redisUrl = z.string().transform((value, context): RedisTarget => {
  const target = parse(value)
  if (target !== null) return target
  // The text itself may hold a password
  context.addIssue({ code: 'custom', message: FORM })
  return z.NEVER
})

function parse(value: string): RedisTarget | null {
  const parts = PARTS.exec(value)
  if (parts === null) return null
  const [, scheme, flavour, credentials = '', list, path = ''] = parts
  const kind = flavour === undefined ? 'single' : flavour === '+sentinel' ? 'sentinel' : 'cluster'
  const hosts = list!.split(',').map(entry => {
    const match = HOST.exec(entry)
    const port = Number(match?.[2] ?? DEFAULT_PORTS[kind])
    return match === null || port > 65_535 ? null : { host: match[1]!.replace(/^\[|\]$/g, ''), port }
  })
  if (hosts.includes(null) || (kind === 'single' && hosts.length > 1)) return null
  const segments = path
    .split('/')
    .slice(1)
    .filter(segment => segment !== '')
  const master = kind === 'sentinel' ? segments.shift() : ''
  const [database = '0', ...rest] = segments
  if (master === undefined || rest.length > 0 || !/^\d{1,4}$/.test(database)) return null
  if (kind === 'cluster' && Number(database) !== 0) return null
  const colon = credentials.indexOf(':')
  try {
    return {
      kind,
      tls: scheme === 'rediss',
      hosts: hosts as RedisTarget['hosts'],
      master,
      database: Number(database),
      username: decodeURIComponent(colon === -1 ? '' : credentials.slice(0, colon)),
      password: decodeURIComponent(colon === -1 ? credentials : credentials.slice(colon + 1)),
    }
  } catch {
    return null
  }
}

export const redisSchema = z.strictObject({
  url: redisUrl.describe('single, Sentinel or cluster, with or without TLS'),
  ca: z.string().min(1).optional().describe('file with the certificates to trust, PEM'),
  prefix: z
    .string()
    .regex(/^[\x21-\x7a]{0,64}$/, 'has characters that no key prefix may have')
    .default('nyro:')
    .describe('begins all keys; gateways with the same prefix share their limits'),
  timeout: duration.default(0.05).describe('what a request waits for it at most'),
})

export type RedisConfig = z.output<typeof redisSchema>
