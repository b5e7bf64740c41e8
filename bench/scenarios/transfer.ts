import { mkdtemp } from 'node:fs/promises'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Running } from '../contender.ts'
import { PEERS, present } from '../field.ts'
import { gateway } from '../peers/gateway.ts'
import { peakBytes, resetPeak, residentBytes } from '../proc.ts'
import { firstLine, mebibytes, type Result } from '../result.ts'
import { type Run, wanted } from '../run.ts'
import { token } from '../token.ts'
import { checksumOf, content, type Manner, MEBIBYTE, receive, type Speed } from '../upstream/content.ts'
import { startUpstream } from '../upstream/start.ts'

const WARM_UP = 64 * MEBIBYTE
const SAMPLE_MILLISECONDS = 50
const CASE_LIMIT = 90_000
/** Both directions, each side fast and slow. */
const CASES = 8

type Case = { direction: 'upload' | 'download'; client: Speed; upstream: Speed }

type Measured = Case & {
  contender: string
  seconds: number
  idle: number
  baseline: number
  peak: number
  growth: number
  samples: number
}

/** A large body through a contender in both directions, whoever is the slow side; memory must not grow with it. */
export async function transfer(run: Run): Promise<Result | null> {
  // The gateway alone, unless others are asked for by name.
  const { contenders } = await present(
    wanted({ ...run, only: run.only ?? ['gateway'] }, [gateway(run), ...PEERS]),
  )
  if (contenders.length === 0) return null
  const bytes = run.mebibytes * MEBIBYTE
  const upstream = await startUpstream(run, 'transfer.ts')
  const measured: Measured[] = []
  const faults: string[] = []
  for (const contender of contenders) {
    for (const one of cases()) {
      // A fresh process for each case: the heap that one leaves behind would hide the growth of the next.
      const directory = await mkdtemp(join(run.directory, 'case-'))
      const running = await contender.start({ directory, upstreamPort: upstream.port, cores: run.cores })
      const name = `${contender.name}: ${caseOf(one)}`
      try {
        const figures = await measure(running, one, bytes)
        measured.push(figures)
        run.say(`${name}: +${mebibytes(figures.growth)} MiB in ${figures.seconds.toFixed(1)} s`)
      } catch (error) {
        faults.push(`${name}: ${firstLine(error)}`)
        run.say(`${name}: ${(error as Error).message}\n${running.process.complaint()}`)
      }
      await running.process.stop()
    }
  }
  await upstream.process.stop()
  return result(measured, faults, bytes)
}

function cases(): Case[] {
  const speeds: Speed[] = ['fast', 'slow']
  const directions: Case['direction'][] = ['upload', 'download']
  return directions.flatMap(direction =>
    speeds.flatMap(client => speeds.map(upstream => ({ direction, client, upstream }))),
  )
}

async function measure(running: Running, one: Case, bytes: number): Promise<Measured> {
  const { pid } = running.process
  const idle = residentBytes(pid)
  await move(running.port, one, WARM_UP, false)
  const baseline = residentBytes(pid)
  const exact = resetPeak(pid)
  let top = baseline
  let samples = 0
  const sampler = setInterval(() => {
    top = Math.max(top, residentBytes(pid))
    samples++
  }, SAMPLE_MILLISECONDS)
  const begin = performance.now()
  try {
    await move(running.port, one, bytes, true)
  } finally {
    clearInterval(sampler)
  }
  const seconds = (performance.now() - begin) / 1000
  // The kernel's own high-water mark sees what falls between two samples.
  const peak = exact ? Math.max(top, peakBytes(pid)) : top
  return { ...one, contender: running.name, seconds, idle, baseline, peak, growth: peak - baseline, samples }
}

/** Moves the content through a contender and fails unless every byte arrived in its place. */
async function move(port: number, one: Case, bytes: number, stall: boolean): Promise<void> {
  const upload = one.direction === 'upload'
  const query = new URLSearchParams({ bytes: String(bytes), speed: one.upstream, stall: String(stall) })
  const question = request({
    port,
    host: '127.0.0.1',
    method: upload ? 'POST' : 'GET',
    path: `/api/v1/ingest/transfer?${query}`,
    agent: false,
    signal: AbortSignal.timeout(CASE_LIMIT),
    headers: {
      authorization: `Bearer ${token()}`,
      ...(upload ? { 'content-type': 'application/octet-stream', 'content-length': bytes } : {}),
    },
  })
  const manner: Manner = { speed: one.client, stall }
  const [answer] = await Promise.all([
    answerTo(question),
    upload ? pipeline(content(bytes, manner), question) : question.end(),
  ])
  if (answer.statusCode !== 200) throw new Error(`the ${one.direction} is answered with ${answer.statusCode}`)
  const received = upload
    ? (JSON.parse(await text(answer)) as { bytes: number; checksum: number })
    : await receive(answer, bytes, manner)
  if (received.bytes !== bytes || received.checksum !== checksumOf(bytes)) {
    throw new Error(`${received.bytes} of ${bytes} bytes arrived, with checksum ${received.checksum}`)
  }
}

function answerTo(question: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    question.once('response', resolve)
    question.once('error', reject)
  })
}

async function text(answer: IncomingMessage): Promise<string> {
  let whole = ''
  for await (const part of answer) whole += part
  return whole
}

function result(measured: Measured[], faults: string[], bytes: number): Result {
  const size = `${bytes / MEBIBYTE} MiB`
  return {
    scenario: 'transfer',
    title: `A body of ${size} through the gateway: resident memory`,
    table: {
      columns: [
        '',
        'direction',
        'client',
        'upstream',
        'MiB/s',
        'idle',
        'warm',
        'peak',
        'over idle',
        'growth',
      ],
      rows: measured.map(one => [
        one.contender,
        one.direction,
        one.client,
        one.upstream,
        (bytes / MEBIBYTE / one.seconds).toFixed(0),
        mebibytes(one.idle),
        mebibytes(one.baseline),
        mebibytes(one.peak),
        mebibytes(one.peak - one.idle),
        mebibytes(one.growth),
      ]),
    },
    notes: [
      'Resident memory of the process tree in MiB: idle after the start, warm after 64 MiB of the same traffic, peak ' +
        'during the transfer (a sample every 50 ms and the high-water mark of the kernel); growth is peak over warm, and the ' +
        'column before it shows the peak over idle, the warming itself included. Each case has a process of its own.',
      'A slow side moves 64 MiB/s and stands still for 2 s half-way. Length and CRC-32 of every body were checked at its far end.',
    ],
    faults,
    chart: {
      title: `Growth of resident memory over a body of ${size}`,
      unit: 'MiB',
      bars: measured.map(one => ({
        label: `${one.contender === 'gateway' ? '' : `${one.contender}: `}${caseOf(one)}`,
        value: one.growth / MEBIBYTE,
        own: one.contender === 'gateway',
      })),
    },
    samples: [...new Set(measured.map(({ contender }) => contender))].map(entry => {
      const own = measured.filter(({ contender }) => contender === entry)
      const cases = own.map(one => [`growth of ${caseOf(one)}`, one.growth / MEBIBYTE])
      const worst =
        own.length === CASES ? { worstGrowth: Math.max(...own.map(one => one.growth)) / MEBIBYTE } : {}
      return { entry, round: 1, figures: { ...Object.fromEntries(cases), ...worst } }
    }),
  }
}

function caseOf({ direction, client, upstream }: Case): string {
  return `${direction}, ${client} client, ${upstream} upstream`
}
