import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ConfigSource, Loaded } from '../config/load.ts'
import { type GatewayConfig, type GatewayOptions, gatewaySchema } from '../config/schema.ts'
import { openLog } from '../telemetry/log.ts'
import { Reloader } from './reload.ts'

const source: ConfigSource = { directory: '/', env: {}, dotenv: '', file: null }

const good = (options: GatewayOptions): Loaded => ({
  config: gatewaySchema.parse(options),
  problems: [],
  file: null,
  warnings: [],
  source,
})

/** A reloader whose loads end when the test says so, and what was done with each. */
function reloader(options: { stopping?: () => boolean; fails?: () => Error | null } = {}) {
  const lines: Record<string, unknown>[] = []
  const loads: PromiseWithResolvers<Loaded>[] = []
  const done: string[] = []
  const log = openLog(gatewaySchema.parse({}).log, {
    write: text =>
      void lines.push(
        ...text
          .trim()
          .split('\n')
          .map(line => JSON.parse(line)),
      ),
    flush: () => {},
    idle: async () => {},
    takeDropped: () => 0,
  })
  const made = new Reloader({
    config: gatewaySchema.parse({ name: 'first' }),
    log,
    load() {
      const load = Promise.withResolvers<Loaded>()
      loads.push(load)
      return load.promise
    },
    stopping: options.stopping ?? (() => false),
    async prepare({ name }: GatewayConfig) {
      const failure = options.fails?.() ?? null
      if (failure !== null) throw failure
      return {
        swap: () => void done.push(`swapped ${name}`),
        discard: () => void done.push(`discarded ${name}`),
      }
    },
  })
  const told = (): Record<string, unknown>[] => {
    log.flush()
    return lines
  }
  return { reloader: made, loads, done, told }
}

describe('a reload', () => {
  test('that is asked for while one is under way follows it, once for all who ask', async () => {
    const { reloader: made, loads, done } = reloader()
    const first = made.reload()
    const others = [made.reload(), made.reload(), made.reload()]
    assert.equal(loads.length, 1, 'never two at a time')
    loads[0]!.resolve(good({ name: 'second' }))
    assert.equal((await first).kind, 'reloaded')
    assert.equal(loads.length, 2)
    loads[1]!.resolve(good({ name: 'third' }))
    const outcomes = await Promise.all(others)
    assert.ok(outcomes.every(outcome => outcome === outcomes[0]))
    assert.equal(loads.length, 2)
    assert.deepEqual(done, ['swapped second', 'swapped third'])
    assert.equal(made.config.name, 'third')
    const later = made.reload()
    loads[2]!.resolve(good({}))
    assert.equal((await later).kind, 'reloaded')
  })

  test('of a wrong configuration changes nothing', async () => {
    const { reloader: made, loads, done, told } = reloader()
    const outcome = made.reload()
    const problems = [
      { place: 'routes[0]', message: 'is odd' },
      { place: 'PORT', message: 'is no port' },
    ]
    loads[0]!.resolve({ config: null, problems, file: null, warnings: [] })
    assert.deepEqual(await outcome, { kind: 'refused', problems })
    assert.deepEqual([made.config.name, done], ['first', []])
    assert.deepEqual(
      told().map(({ event, problems }) => [event, problems]),
      [['Configuration not reloaded: the old one stays', ['routes[0] is odd', 'PORT is no port']]],
    )
  })

  test('that cannot be prepared, or not even loaded, changes nothing, and the next may succeed', async () => {
    let failure: Error | null = new Error('worker 1 says no')
    const { reloader: made, loads, done, told } = reloader({ fails: () => failure })
    const outcome = made.reload()
    loads[0]!.resolve(good({ name: 'second' }))
    assert.equal((await outcome).kind, 'refused')
    assert.deepEqual(told()[0]!.problems, ['worker 1 says no'])
    const thrown = made.reload()
    loads[1]!.reject(new Error('no disk'))
    assert.equal((await thrown).kind, 'refused')
    failure = null
    const next = made.reload()
    loads[2]!.resolve(good({ name: 'third' }))
    assert.equal((await next).kind, 'reloaded')
    assert.deepEqual(done, ['swapped third'])
  })

  test('is forgotten when the gateway begins to stop', async () => {
    let stopping = false
    const { reloader: made, loads, done, told } = reloader({ stopping: () => stopping })
    const outcome = made.reload()
    stopping = true
    loads[0]!.resolve(good({ name: 'second' }))
    assert.equal((await outcome).kind, 'stopping')
    assert.equal((await made.reload()).kind, 'stopping')
    assert.deepEqual(done, ['discarded second'])
    assert.deepEqual([made.config.name, told()], ['first', []])
  })

  test('keeps what needs a restart, and says so each time', async () => {
    const { reloader: made, loads, told } = reloader()
    for (const [index, name] of ['second', 'third'].entries()) {
      const outcome = made.reload()
      loads[index]!.resolve(good({ name, server: { port: 9999 }, admin: { host: '::1' } }))
      assert.deepEqual((await outcome).kind, 'reloaded')
    }
    assert.deepEqual(
      [made.config.server.port, made.config.admin.host, made.config.name],
      [8080, '127.0.0.1', 'third'],
    )
    const warnings = told().filter(({ level }) => level === 'warning')
    assert.deepEqual(
      warnings.map(({ keys }) => keys),
      [
        ['server.port', 'admin.host'],
        ['server.port', 'admin.host'],
      ],
    )
  })
})
