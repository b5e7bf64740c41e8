import type { Contender } from '../contender.ts'
import { PEERS } from '../field.ts'
import type { Load } from '../load/drive.ts'
import type { TokenSource } from '../load/tokens.ts'
import type { WrkLoad } from '../load/wrk.ts'
import { gateway, ROUTES_PATH } from '../peers/gateway.ts'
import { LIMITED_PATHS, type LimitedRoute, limitedGateway, sharing } from '../peers/limited-gateway.ts'
import type { Entry } from '../race.ts'
import type { Run } from '../run.ts'
import { ANSWER, MEGABYTE, PATHS, STREAM_BYTES, TEN_KILOBYTES } from '../upstream/service.ts'

/** A scenario in which contenders or loads take turns, as data: who races, and what is asked of them. */
export type Race = {
  title: string
  /** What it loads, for the page. */
  notes: string[]
  /** Entry that the others are compared with. */
  reference: string
  overReference?: boolean
  /** The gateway and its loads may use two cores. */
  twoCores?: boolean
  /** Processes of each contender, one after the other: what V8 makes of the same code differs from one to the next. */
  processes?: number
  entries: (run: Pick<Run, 'sources'>) => Entry[]
}

const CONNECTIONS = 64
/** Those that a comparison cannot do without; the whole field races in `small` only, since time is limited. */
const CORE_FIELD = ['haproxy-log', 'nginx', 'nginx-njs', 'undici', 'fastify']

const SMALL: WrkLoad = {
  kind: 'wrk',
  connections: CONNECTIONS,
  question: { method: 'GET', path: PATHS.small, token: true },
  expected: { status: 200, body: ANSWER },
}

/** What a small request costs with limits, over what it costs without. Nothing is refused, and nothing waits. */
const LIMITS: Race = {
  title: 'Limits: small answers, 64 connections, one core',
  notes: [
    'Each is compared with a route of the same process that differs in nothing else: from one process to the next V8 makes so different code of the same source that it would hide what is ' +
      'measured. Three rules: a rate with a burst, another one over a minute, a quota of the month. The queue is adaptive, and has more slots than there are connections.',
    'Three processes of each, one after the other, and turns of a second: ratios are formed round by round, over all processes, and their median counts. ' +
      'A Redis that has to wait for its core grants late; then leases run out, and are not warm.',
  ],
  reference: 'none',
  overReference: true,
  processes: 3,
  entries: ({ sources }) => {
    const local = limitedGateway({ sources, name: 'gateway-limits' })
    const shared = sharing(limitedGateway({ sources, name: 'gateway-redis' }), { sources })
    const entry = (name: string, label: string, contender: Contender, route: LimitedRoute): Entry => ({
      name,
      label,
      contender,
      load: { ...SMALL, question: { ...SMALL.question, path: LIMITED_PATHS[route] } },
    })
    return [
      entry('none', 'without', local, 'none'),
      entry('rules', 'three rules, local', local, 'rules'),
      entry('queue', 'fair queue, not saturated', local, 'queue'),
      { ...entry('redis', 'three rules, Redis, warm leases', shared, 'rules'), over: 'redis-none' },
      entry('redis-none', 'the same process, without', shared, 'none'),
    ]
  },
}

export const RACES: Record<string, Race> = {
  small: peerRace({
    title: 'Small answers: GET with an HS256 token, 89-byte JSON answer, 64 keep-alive connections, one core',
    notes: [
      'Medians over the rounds, least..most in brackets. Contenders took turns in every round; ratios are formed round by round.',
      'CPU is user and system time of the whole process tree over the requests that were counted. Latency is seen under the ' +
        'full load of all connections, so it follows from the throughput and says little about an idle system.',
      'Status and body of every answer were compared, and requests were counted at the upstream and in the logs. ' +
        'The gateway keeps tokens that it verified until they expire, and the load sends one token.',
    ],
    load: SMALL,
    peers: PEERS.filter(({ duty }) => duty !== 'answer').map(({ name }) => name),
  }),
  'answer-10k': peerRace({
    title: 'Answers of 10 KB: GET with an HS256 token, 64 connections, one core',
    load: {
      ...SMALL,
      question: { ...SMALL.question, path: PATHS.tenKilobytes },
      expected: { status: 200, bytes: TEN_KILOBYTES },
    },
    peers: [...CORE_FIELD, 'caddy', 'varnish'],
  }),
  'answer-1m': peerRace({
    title: 'Answers of 1 MiB: GET with an HS256 token, 8 connections, one core',
    notes: [
      'A request is 1 MiB here: CPU per request is CPU per MiB, and its inverse is bytes per second of one core.',
    ],
    load: {
      ...SMALL,
      connections: 8,
      question: { ...SMALL.question, path: PATHS.megabyte },
      expected: { status: 200, bytes: MEGABYTE },
    },
    peers: [...CORE_FIELD, 'caddy', 'varnish'],
  }),
  'post-10k': peerRace({
    title: 'Bodies of 10 KB: POST with an HS256 token, 89-byte answer, 64 connections, one core',
    load: { ...SMALL, question: { ...SMALL.question, method: 'POST', bodyBytes: TEN_KILOBYTES } },
    peers: CORE_FIELD,
  }),
  refused: peerRace({
    title: 'Refusals: GET without a token, answered 401, 64 connections, one core',
    notes: [
      'The bare answer is one of `node:http` that looks at nothing: what a refusal costs in Node before any work.',
    ],
    load: {
      ...SMALL,
      question: { ...SMALL.question, token: false },
      expected: { status: 401, any: true },
    },
    peers: ['hello', 'haproxy-log', 'nginx-njs', 'envoy', 'krakend', 'undici', 'fastify', 'fastify-log'],
  }),
  stream: peerRace({
    title: 'Streams: 100 server-sent events of 50 bytes, a millisecond apart, 64 connections, one core',
    notes: [
      'A request is a whole stream of 100 events, which takes 100 ms at least: CPU per request is what counts here.',
    ],
    load: {
      ...SMALL,
      question: { ...SMALL.question, path: PATHS.stream },
      expected: { status: 200, bytes: STREAM_BYTES },
    },
    peers: CORE_FIELD,
  }),
  connect: peerRace({
    title: 'A new connection for each request: small answers, 64 at a time, one core',
    notes: ['Clients ask for the connection to be closed; upstream connections are kept all the same.'],
    load: { ...SMALL, question: { ...SMALL.question, close: true } },
    // Fastify's plugin passes the upstream's `Connection: keep-alive` to a client that asked to close, and leaves it open.
    peers: CORE_FIELD.filter(name => name !== 'fastify'),
  }),
  workers: {
    title: 'One worker and two: small answers, 64 connections, two cores',
    notes: [
      'Both may use the same two cores, and the load has a third one where there is one. CPU per request is ' +
        'compared, not throughput: on a machine of two cores the load and the upstream share one with the second worker.',
    ],
    reference: 'one',
    overReference: true,
    twoCores: true,
    entries: ({ sources }) => [
      {
        name: 'one',
        label: 'one worker',
        contender: gateway({ name: 'gateway-1', sources, workers: 1 }),
        load: SMALL,
      },
      {
        name: 'two',
        label: 'two workers',
        contender: gateway({ name: 'gateway-2', sources, workers: 2 }),
        load: SMALL,
        threads: 2,
      },
    ],
  },
  limits: LIMITS,
  many: {
    title: 'Many routes, many companies: small answers, 64 connections, one core',
    notes: [
      'Companies are told apart by their tokens, one token each. A thousand are active at a time, or 100,000 ' +
        'follow one another, which is more than the memory for verified tokens holds: each of those is verified anew.',
    ],
    reference: 'one',
    overReference: true,
    entries: ({ sources }) => {
      const single = gateway({ sources })
      const routed = gateway({ name: 'gateway-routes', sources, routes: 10_000 })
      const active: TokenSource = { kind: 'valid', algorithm: 'HS256', count: 1000 }
      const all: TokenSource = { ...active, count: 100_000 }
      const entry = (name: string, label: string, contender: Contender, tokens: TokenSource): Entry => ({
        name,
        label,
        contender,
        load:
          contender === single ? varied({ tokens }) : varied({ tokens, path: ROUTES_PATH, paths: 10_000 }),
      })
      return [
        entry('one', 'one route, one company', single, { kind: 'one' }),
        entry('companies-active', 'one route, 1,000 companies', single, active),
        entry('companies', 'one route, 100,000 companies in turn', single, all),
        entry('routes', '10,000 routes, one company', routed, { kind: 'one' }),
        entry('routes-active', '10,000 routes, 1,000 companies', routed, active),
        entry('routes-companies', '10,000 routes, 100,000 companies in turn', routed, all),
      ]
    },
  },
  tokens: {
    title: 'Tokens: known, never seen before, and hostile; small answers, 64 connections, one core',
    notes: [
      'Unseen tokens are all different over all rounds, hostile ones too. The turns of one process follow one ' +
        'another, so the 1,000 known tokens come back after floods of hostile ones.',
      'A forged ES256 token names the published key, and only the curve can tell that its signature is wrong.',
    ],
    reference: 'one',
    overReference: true,
    entries: ({ sources }) => {
      const contender = gateway({ sources, keySet: true })
      const entry = (name: string, label: string, tokens: TokenSource): Entry => ({
        name,
        label,
        contender,
        load: varied({ tokens }),
      })
      const refused = (name: string, label: string, tokens: TokenSource): Entry => ({
        name,
        label,
        contender,
        load: varied({ tokens, expected: { status: 401, any: true } }),
      })
      const many = 1_000_000
      return [
        entry('one', 'one token', { kind: 'one' }),
        entry('known-hs256', '1,000 HS256 for ever', { kind: 'valid', algorithm: 'HS256', count: 1000 }),
        entry('known-es256', '1,000 ES256 for ever', { kind: 'valid', algorithm: 'ES256', count: 1000 }),
        entry('unseen-hs256', 'HS256, each once', { kind: 'valid', algorithm: 'HS256', count: many }),
        entry('unseen-es256', 'ES256, each once', { kind: 'valid', algorithm: 'ES256', count: many }),
        refused('none', '401: no token', { kind: 'none' }),
        refused('forged-hs256', '401: forged HS256', { kind: 'forged', algorithm: 'HS256', count: many }),
        refused('forged-es256', '401: forged ES256', { kind: 'forged', algorithm: 'ES256', count: many }),
        refused('garbage', '401: garbage', { kind: 'garbage', count: many }),
      ]
    },
  },
}

type PeerRace = { title: string; notes?: string[]; load: Load; peers: string[] }

/** The gateway and some of its peers under one load. */
function peerRace({ title, notes = [], load, peers }: PeerRace): Race {
  return {
    title,
    notes,
    reference: 'gateway',
    entries: ({ sources }) =>
      [gateway({ sources }), ...PEERS.filter(({ name }) => peers.includes(name))].map(contender => ({
        name: contender.name,
        label: contender.label,
        contender,
        load,
      })),
  }
}

function varied(changes: Partial<Extract<Load, { kind: 'varied' }>>): Load {
  return {
    kind: 'varied',
    connections: CONNECTIONS,
    path: PATHS.small,
    paths: 1,
    tokens: { kind: 'one' },
    expected: { status: 200, body: ANSWER },
    perSecond: 8_000,
    ...changes,
  }
}
