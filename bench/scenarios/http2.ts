import { execFile } from 'node:child_process'
import http2 from 'node:http2'
import https from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { type H2Load, h2load, WARM_UP_SECONDS } from '../load/h2load.ts'
import { gateway } from '../peers/gateway.ts'
import { cpuMicroseconds } from '../proc.ts'
import { freePort } from '../process.ts'
import { enter } from '../race.ts'
import { figureOf, type Result, ratioOf, withRange } from '../result.ts'
import { type Run, wanted } from '../run.ts'
import { token } from '../token.ts'
import { inTurns, type Participant } from '../turns.ts'
import { ANSWER, PATHS, startService } from '../upstream/service.ts'

/** A hundred requests under way in each. */
const LOADS: Record<string, H2Load & { label: string }> = {
  h1: {
    label: 'HTTP/1.1 over TLS, 100 connections',
    protocol: 'h1',
    connections: 100,
    streams: 1,
    path: PATHS.small,
  },
  h2: {
    label: 'HTTP/2 over TLS, 4 connections with 25 streams each',
    protocol: 'h2',
    connections: 4,
    streams: 25,
    path: PATHS.small,
  },
}

/** What the gateway does over HTTP/2, beside what it does over HTTP/1.1, both over TLS. */
export async function http2OverTls(run: Run): Promise<Result | null> {
  const port = await freePort()
  const contender = gateway({ ...run, tls: { ...(await certificate(run.directory)), port } })
  if (wanted(run, [contender]).length === 0) return null
  const upstream = await startService(run.directory, run.cores.load)
  const running = await enter(contender, run, upstream)
  const { pid } = running.process
  for (const { protocol } of Object.values(LOADS)) await answersOver(protocol, port)
  for (const load of Object.values(LOADS)) await h2load(load, port, run.warmUp, run.cores.load)
  const participants = Object.entries(LOADS).map(
    ([name, load]): Participant => ({
      name,
      turn: async () => {
        const before = cpuMicroseconds(pid)
        const { requests, seconds, wrong, socketErrors } = await h2load(
          load,
          port,
          run.seconds,
          run.cores.load,
        )
        const cpu = (cpuMicroseconds(pid) - before) / (requests * (1 + WARM_UP_SECONDS / seconds))
        if (wrong + socketErrors > 0) throw new Error(`${wrong} wrong answers, ${socketErrors} failures`)
        return { requests, perSecond: requests / seconds, cpu }
      },
      tell: ({ perSecond }) => `${perSecond!.toFixed(0)} requests/s`,
    }),
  )
  const { samples, faults } = await inTurns(participants, run)
  await running.process.stop()
  await upstream.process.stop()
  const finishers = Object.entries(LOADS).filter(([name]) => samples.some(({ entry }) => entry === name))
  return {
    scenario: 'http2',
    title: 'HTTP/2 and HTTP/1.1 over TLS: small answers, 100 requests under way, one core',
    table: {
      columns: ['', 'requests/s', 'CPU µs/request', 'requests/s / HTTP/1.1'],
      rows: finishers.map(([name, { label }]) => {
        const ratio = name === 'h1' ? null : ratioOf(samples, name, 'h1', 'perSecond')
        return [
          label,
          withRange(figureOf(samples, name, 'perSecond')!, 0),
          figureOf(samples, name, 'cpu')!.median.toFixed(1),
          ratio === null ? '' : withRange(ratio, 2),
        ]
      }),
    },
    notes: [
      'h2load asks over TLS 1.3 in both, in turns, on connections that are kept; GET with an HS256 token, 89-byte answer, over HTTP/1.1 to the upstream. Medians over the rounds, least..most ' +
        'in brackets. CPU includes a share of the second in which h2load warms up.',
    ],
    faults,
    chart: {
      title: 'CPU per request over TLS',
      unit: 'µs',
      bars: finishers.map(([name, { label }]) => {
        const { median, least, most } = figureOf(samples, name, 'cpu')!
        return { label, value: median, low: least, high: most, own: true }
      }),
    },
    samples,
  }
}

async function certificate(directory: string): Promise<{ cert: string; key: string }> {
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=gateway', '-addext', 'subjectAltName=IP:127.0.0.1'],
    ...['-keyout', files.key, '-out', files.cert],
  ])
  return files
}

/** One whole answer, before thousands are judged by their status. */
async function answersOver(protocol: H2Load['protocol'], port: number): Promise<void> {
  const ask = protocol === 'h1' ? askHttp1 : askHttp2
  const answer = await ask(port, { authorization: `Bearer ${token()}` })
  if (answer !== ANSWER) throw new Error(`${protocol} over TLS answers ${answer.slice(0, 200)}`)
  if ((await ask(port, {})) === ANSWER) throw new Error(`${protocol} over TLS asks for no token`)
}

// The certificate was made a moment ago; whose it is does not matter here.
const UNCHECKED = { rejectUnauthorized: false }

function askHttp1(port: number, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { ...UNCHECKED, port, host: '127.0.0.1', path: PATHS.small, headers, agent: false }
    https.get(options, answer => text(answer).then(resolve, reject)).on('error', reject)
  })
}

async function askHttp2(port: number, headers: Record<string, string>): Promise<string> {
  const session = http2.connect(`https://127.0.0.1:${port}`, UNCHECKED)
  try {
    return await new Promise((resolve, reject) => {
      session.on('error', reject)
      const stream = session.request({ ':path': PATHS.small, ...headers })
      text(stream).then(resolve, reject)
    })
  } finally {
    session.close()
  }
}
