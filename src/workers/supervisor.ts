/**
 * The main thread of a gateway with several workers. It serves no requests: it starts the workers, keeps their number,
 * writes their log, fetches their keys, answers on the admin port, and ends them in good order.
 */

import { randomBytes } from 'node:crypto'
import { totalmem } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import { getHeapStatistics } from 'node:v8'
import { type AdminServer, startAdmin } from '../admin/server.ts'
import { queuedUpstreams } from '../admission/queued.ts'
import { TICKET_KEY_BYTES } from '../certificate.ts'
import { fixedOf } from '../config/fixed.ts'
import type { ConfigSource, Loaded } from '../config/load.ts'
import type { GatewayConfig } from '../config/schema.ts'
import type { Jwk } from '../identity/key-source.ts'
import { urlOf } from '../listening.ts'
import type { RunningGateway } from '../server.ts'
import { isPretty, type Log, openLog } from '../telemetry/log.ts'
import type { QuotaKeeper } from '../usage/quota-keeper.ts'
import { Board } from './board.ts'
import { drain, within } from './drain.ts'
import { FetchedKeys } from './fetched-keys.ts'
import { type MainParts, openMainParts } from './main-parts.ts'
import type { FromWorker, Prepare } from './messages.ts'
import { claimPorts } from './port.ts'
import { Reloader } from './reload.ts'
import type { Prepared } from './serve.ts'
import { type Death, SupervisedWorker } from './supervised.ts'

/** Seconds that a worker gets to end after its last connection was cut: longer only when it is stuck. */
const CUT_GRACE = 2
/** Seconds that workers get to write out their log when the end is forced. */
const ABANDON_GRACE = 0.2

/**
 * Starts a gateway whose requests are served by worker threads.
 * @throws when a worker cannot start or a port cannot be listened on; nothing is left running then
 */
export async function startSupervisor(
  config: GatewayConfig,
  source: ConfigSource,
  count: number,
  load: () => Promise<Loaded>,
  log: Log = openLog(config.log),
): Promise<RunningGateway> {
  const board = Board.create(count, { limitKeys: config.limits?.maxKeys, queued: queuedUpstreams(config) })
  const parts = await openMainParts(config, log.logger, board.revocations, count)
  const supervisor = new Supervisor(config, source, board, load, log, parts)
  try {
    return await supervisor.start()
  } catch (error) {
    await supervisor.giveUp()
    throw error
  }
}

const WATCH_MS = 1_000

class Supervisor {
  readonly #log: Log
  readonly #board: Board
  readonly #parts: MainParts
  readonly #quotas: QuotaKeeper | null
  readonly #workers: readonly SupervisedWorker[]
  readonly #reloader: Reloader
  /** What a thread is made of that starts now. */
  #source: ConfigSource
  #keys: FetchedKeys | null
  #admin: AdminServer | null = null

  constructor(
    config: GatewayConfig,
    source: ConfigSource,
    board: Board,
    load: () => Promise<Loaded>,
    log: Log,
    parts: MainParts,
  ) {
    const count = board.workers
    this.#parts = parts
    this.#log = log
    this.#board = board
    this.#quotas = parts.keepQuotas(this.#board.limits)
    this.#source = source
    this.#reloader = new Reloader({
      config,
      log,
      load,
      stopping: () => this.#board.phase === 'draining',
      prepare: (config, source) => this.#prepare(config, source),
    })
    this.#keys = this.#keysOf(config)
    // The keys are fetched while the workers start.
    void this.#fetch(this.#keys).then(() => this.#tellOfAttempt())
    const fixed = fixedOf(config)
    const pretty = isPretty(config.log)
    const heapLimit = heapLimitOf(count)
    const ticketKeys = randomBytes(TICKET_KEY_BYTES)
    this.#workers = Array.from({ length: count }, (_, id) => {
      const data = () => {
        this.#board.setState(id, 'starting')
        return {
          id,
          workers: count,
          source: this.#source,
          fixed,
          pretty,
          board: this.#board.buffers,
          blocks: parts.blocking.follow(),
          usage: parts.usage?.workers[id] ?? null,
          keepsQuotas: this.#quotas !== null,
          tellsRevoked: parts.revoking !== null,
          ticketKeys,
          keys: this.#keys?.keys ?? null,
        }
      }
      return new SupervisedWorker({
        id,
        data,
        heapLimit,
        events: {
          onMessage: (worker, message) => this.#take(worker, message),
          onDeath: (worker, death) => this.#mourn(worker, death),
          onGone: () => this.#board.clear(id),
        },
      })
    })
  }

  get #config(): GatewayConfig {
    return this.#reloader.config
  }

  async start(): Promise<RunningGateway> {
    const { server, admin, routes } = this.#config
    const board = this.#board
    await Promise.all([...this.#workers.map(worker => worker.built), this.#parts.prepared()])
    const ports = await claimPorts(server)
    await Promise.all(this.#workers.map(worker => worker.listen(ports)))
    const watch = setInterval(() => {
      if (board.phase === 'running') for (const worker of this.#workers) worker.watch(board.beats(worker.id))
    }, WATCH_MS)
    watch.unref()
    if (admin.port !== 'off') {
      const state = {
        ready: () => board.ready,
        draining: () => board.phase === 'draining',
        workers: () => this.#workers,
        board,
        blocking: this.#parts.blocking,
        revoking: this.#parts.revoking,
        usage: this.#parts.usage?.ledger ?? null,
        reload: () => this.#reloader.reload(),
      }
      this.#admin = await startAdmin(this.#config, state, admin.port)
    }
    board.phase = 'running'
    const url = urlOf(server.host, ports.plain)
    const tlsUrl = ports.tls === null ? null : urlOf(server.host, ports.tls, 'https')
    const adminUrl = this.#admin?.url ?? null
    this.#log.logger.info(
      {
        url,
        ...(tlsUrl === null ? {} : { tls_url: tlsUrl }),
        admin_url: adminUrl,
        pid: process.pid,
        routes: routes.length,
        workers: this.#workers.length,
      },
      'Gateway listening',
    )
    return {
      url,
      tlsUrl,
      adminUrl,
      log: this.#log,
      reload: () => this.#reloader.reload(),
      close: () => this.#close(),
      abandon: () => this.#abandon(),
    }
  }

  /** What was started goes again, before anybody knew of it. */
  async giveUp(): Promise<void> {
    this.#keys?.stop()
    await Promise.all(this.#workers.map(worker => worker.terminate()))
    await this.#parts.close()
  }

  #take(worker: SupervisedWorker, message: FromWorker): void {
    switch (message.kind) {
      case 'log':
        return this.#log.writeBatch(message.lines)
      case 'quotas':
        return this.#quotas?.note(message.names)
      case 'revoked':
        return this.#parts.revoking?.note(message.revocation)
      case 'keys wanted':
        return void this.#askForKeys(worker)
      case 'built':
        if (message.moduleChanged) {
          this.#log.logger.warn(
            { worker: worker.id },
            'The config file has changed since it was loaded: this worker runs what it says now',
          )
        }
    }
  }

  #keysOf({ identity: { jwks } }: GatewayConfig): FetchedKeys | null {
    const onFailure = (error: unknown): void => this.#log.logger.error({ error }, 'JWKS could not be fetched')
    return jwks === undefined ? null : new FetchedKeys(jwks, onFailure)
  }

  async #fetch(keys: FetchedKeys | null): Promise<void> {
    await keys?.start(set => {
      this.#log.logger.info({ keys: set.length }, 'JWKS fetched')
      if (keys === this.#keys) this.#hand(set)
    })
  }

  #hand(keys: readonly Jwk[]): void {
    for (const worker of this.#workers) worker.send({ kind: 'keys', keys })
  }

  async #askForKeys(worker: SupervisedWorker): Promise<void> {
    const keys = this.#keys
    if (keys === null) return
    await keys.wanted()
    worker.send({ kind: 'keys asked', cooldown: keys.cooldown })
  }

  #tellOfAttempt(): void {
    const cooldown = this.#keys?.cooldown
    if (cooldown === undefined) return
    for (const worker of this.#workers) worker.send({ kind: 'keys asked', cooldown })
  }

  /**
   * Another configuration, in two steps: first every worker builds what it needs, then all go on with it; or none does,
   * when one cannot. Other keys are here before that, so that no token is refused for want of them.
   */
  async #prepare(config: GatewayConfig, source: ConfigSource): Promise<Prepared> {
    const { jwks } = this.#config.identity
    const kept = isDeepStrictEqual(jwks, config.identity.jwks)
    const keys = kept ? this.#keys : this.#keysOf(config)
    if (!kept) await this.#fetch(keys)
    const { admission } = this.#board
    admission.add(queuedUpstreams(config))
    const message: Prepare = {
      kind: 'prepare',
      source,
      keys: kept ? null : { set: keys?.keys ?? null },
      admission: admission.buffers,
    }
    const discard = (): void => {
      for (const worker of this.#workers) worker.send({ kind: 'discard' })
      if (!kept) keys?.stop()
    }
    const answers = await Promise.allSettled(this.#workers.map(worker => worker.prepare(message)))
    const failed = answers.find(answer => answer.status === 'rejected')
    if (failed !== undefined) {
      discard()
      throw failed.reason
    }
    return { discard, swap: () => this.#swap(config, message, keys) }
  }

  async #swap(config: GatewayConfig, message: Prepare, keys: FetchedKeys | null): Promise<void> {
    // A thread that starts from now on needs no swap
    this.#source = message.source
    const swapped = this.#workers.map(worker => worker.swap(message))
    if (keys !== this.#keys) {
      this.#keys?.stop()
      this.#keys = keys
      // There may be a newer set than that of the message
      if (keys !== null && keys.keys !== null) this.#hand(keys.keys)
    }
    this.#admin?.describe(config)
    // One that ended instead is replaced by one of the new configuration
    await Promise.allSettled(swapped)
    this.#board.admission.show(queuedUpstreams(config))
  }

  #mourn(worker: SupervisedWorker, { error, exitCode, pause }: Death): void {
    this.#log.logger.error(
      {
        worker: worker.id,
        exit_code: exitCode,
        error: error ?? undefined,
        restarts: worker.restarts,
        pause: pause / 1000,
      },
      'Worker died: another takes its place',
    )
  }

  async #close(): Promise<void> {
    if (this.#board.phase === 'draining') return
    await drain(this.#config, this.#board, this.#log, {
      close: () => this.#end('close'),
      cut: () => void this.#cut(),
    })
    await this.#admin?.close()
    this.#keys?.stop()
    await this.#parts.close()
    this.#log.logger.info('Gateway stopped')
    await this.#log.finish()
  }

  async #cut(): Promise<void> {
    for (const worker of this.#workers) worker.send({ kind: 'cut' })
    const ended = Promise.all(this.#workers.map(worker => worker.ended))
    if (!(await within(CUT_GRACE, ended))) await this.#terminate()
  }

  /**
   * Ends threads from outside. One that does nothing but collect garbage cannot be stopped so, and the process would
   * wait for it for ever, even in `process.exit`: whoever waits for the process would wait with it.
   */
  async #terminate(): Promise<void> {
    const ended = Promise.all(this.#workers.map(worker => worker.terminate()))
    if (await within(CUT_GRACE, ended)) return
    this.#log.logger.fatal('A worker cannot be stopped: the process is killed')
    this.#log.flush()
    process.kill(process.pid, 'SIGKILL')
  }

  async #end(how: 'close' | 'abandon'): Promise<void> {
    for (const worker of this.#workers) worker.end(how)
    await Promise.all(this.#workers.map(worker => worker.ended))
  }

  async #abandon(): Promise<void> {
    if (!(await within(ABANDON_GRACE, this.#end('abandon')))) await this.#terminate()
    await within(ABANDON_GRACE, this.#parts.close())
    this.#log.flush()
  }
}

/** Memory that all heaps together may take of what the machine, or the container, has. */
const HEAP_PART = 0.5
const MIN_HEAP_MIB = 64

/**
 * MiB for the heap of one worker. Each would be given the whole process's limit by default: together they could fill a
 * container until the kernel ends all of them at once.
 */
function heapLimitOf(workers: number): number {
  const own = getHeapStatistics().heap_size_limit
  // No limit at all is told as a number beyond all memory
  const memory = Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem())
  return Math.max(MIN_HEAP_MIB, Math.floor(Math.min(own, (memory * HEAP_PART) / workers) / 1024 ** 2))
}
