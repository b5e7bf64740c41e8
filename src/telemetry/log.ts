/**
 * Where log lines go: pino for the gateway's own messages, and a plain line writer for the access log, both into one
 * buffered destination that is bounded: with a reader too slow for the traffic lines are dropped and counted.
 */

import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import {
  destination as createDestination,
  type Logger,
  type LoggerOptions,
  pino,
  stdTimeFunctions,
} from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import { LineBatch } from './line-batch.ts'
import { prettyLine } from './pretty.ts'

export type LogLevel = GatewayConfig['log']['level']

export interface Log {
  readonly logger: Logger
  /** Writes one finished JSON line, as the access log does. */
  writeLine(line: string): void
  /** Writes whole lines that another thread has made ready, pretty or not. */
  writeBatch(lines: string): void
  enabled(level: LogLevel): boolean
  /** From now on nothing below `level` is written. */
  setLevel(level: LogLevel): void
  /** Writes out what is buffered, now, for an end without delay: it may overtake lines that are being written. */
  flush(): void
  /** Writes out what is buffered behind what is being written, for an end in good order. */
  finish(): Promise<void>
}

/** pino's numbers under the names of the first gateway. */
const LEVELS: Record<LogLevel, number> = { debug: 20, info: 30, warning: 40, error: 50, critical: 60 }
const PINO_LEVELS = {
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  error: 'error',
  critical: 'fatal',
} as const

const MAX_BUFFERED_BYTES = 8 * 1024 ** 2
const FLUSH_MS = 50
/** What the reader gets to take the last lines, when the gateway ends. */
const FINISH_MS = 1_000

/** Takes batches of whole lines. */
export interface LogOutput {
  write(lines: string): void
  flush(): void
  /** Resolves when nothing is being written any more, or its reader has taken too long. */
  idle(): Promise<void>
  /** How many lines were lost since the last call. */
  takeDropped(): number
}

/** @param fd file descriptor; 1: stdout */
export function openOutput(fd = 1): LogOutput {
  const out = createDestination({ fd, sync: false, maxLength: MAX_BUFFERED_BYTES })
  let dropped = 0
  // A thread of the system's library has lines in hand, which a synchronous write would overtake.
  let writing = false
  const settled = (): void => {
    writing = false
  }
  out.on('drain', settled)
  // A reader that went away must not take the gateway with it.
  out.on('error', settled)
  out.on('drop', (lines: string) => {
    dropped += lines.split('\n').length - 1
  })
  return {
    write(lines) {
      writing = true
      out.write(lines)
    },
    flush: () => out.flushSync(),
    async idle() {
      if (!writing) return
      await Promise.race([once(out, 'drain'), delay(FINISH_MS, null, { ref: false })]).catch(() => {})
    },
    takeDropped() {
      const count = dropped
      dropped = 0
      return count
    },
  }
}

/** Whether lines are for people: in the end that is a question of where stdout goes. */
export function isPretty({ format }: GatewayConfig['log']): boolean {
  return format === 'pretty' || (format === 'auto' && process.stdout.isTTY === true)
}

export function openLog(settings: GatewayConfig['log'], out: LogOutput = openOutput()): Log {
  const pretty = isPretty(settings)
  const batch = new LineBatch()
  let timer: NodeJS.Timeout | null = null
  let lowest = LEVELS[settings.level]

  const write = (line: string): void => {
    const shown = pretty ? prettyLine(line) : line
    if (!batch.fits(shown)) handOver()
    if (!batch.fits(shown)) out.write(shown)
    else {
      batch.add(shown)
      wake()
    }
  }
  const wake = (): void => {
    if (timer !== null) return
    timer = setTimeout(onTimer, FLUSH_MS)
    timer.unref()
  }
  const handOver = (): void => {
    if (!batch.empty) out.write(batch.take())
  }
  const onTimer = (): void => {
    timer = null
    handOver()
    const dropped = out.takeDropped()
    if (dropped > 0) logger.warn({ dropped }, 'Log lines dropped: the reader of the log is too slow')
  }
  const logger = pino(optionsFor(settings.level), { write })
  const flush = (): void => {
    try {
      handOver()
      out.flush()
    } catch {
      // Nothing was written yet, or the reader is gone
    }
  }
  return {
    logger,
    writeLine: write,
    writeBatch(lines) {
      handOver()
      out.write(lines)
      // The timer is also what tells of lines that were dropped
      wake()
    },
    enabled: level => LEVELS[level] >= lowest,
    setLevel(level) {
      lowest = LEVELS[level]
      logger.level = PINO_LEVELS[level]
    },
    flush,
    async finish() {
      handOver()
      await out.idle()
      flush()
    },
  }
}

function optionsFor(level: LogLevel): LoggerOptions {
  return {
    level: PINO_LEVELS[level],
    base: null,
    messageKey: 'event',
    timestamp: () => stdTimeFunctions.isoTime().replace('"time"', '"timestamp"'),
    formatters: { level: (_label, number) => ({ level: nameOf(number) }) },
    serializers: { error: error => describeError(error) },
  }
}

function nameOf(number: number): LogLevel {
  return (Object.keys(LEVELS) as LogLevel[]).find(name => LEVELS[name] === number) ?? 'info'
}

/** An error as text, with what caused it; stacks only for faults of the gateway's own. */
export function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return String(error)
  const code = (error as NodeJS.ErrnoException).code
  const text =
    code === undefined || error.message.includes(code) ? error.message : `${code}: ${error.message}`
  return error.cause === undefined || depth > 4 ? text : `${text}: ${describeError(error.cause, depth + 1)}`
}
