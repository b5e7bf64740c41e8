/** The benchmark itself, as short as it can be: real servers, real load, results and verdicts at the end. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { needs } from '../test/support/system.ts'
import type { Kept } from './report.ts'

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))

const linux = process.platform === 'linux' ? false : 'needs Linux'
const missing =
  linux ||
  (await needs('wrk', { command: '/usr/bin/wrk', packages: ['wrk'] })) ||
  (await needs('nginx with njs', {
    command: '/usr/lib/nginx/modules/ngx_http_js_module.so',
    packages: ['nginx', 'libnginx-mod-http-js'],
  }))
const missingH2 =
  missing || (await needs('h2load', { command: '/usr/bin/h2load', packages: ['nghttp2-client'] }))

test('a race of two ends in figures, a table and a chart', { skip: missing }, async t => {
  const results = await mkdtemp(join(tmpdir(), 'nyro-bench-test-'))
  t.after(() => rm(results, { recursive: true, force: true }))
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[MAIN, '--sources', '--only', 'refused', '--contenders', 'gateway,hello', '--results', results],
    ...['--rounds', '1', '--seconds', '1', '--warm-up', '1'],
  ])
  const kept = JSON.parse(await readFile(join(results, 'refused.json'), 'utf8')) as Kept
  assert.deepEqual(kept.faults, [])
  assert.deepEqual(kept.samples.map(({ entry }) => entry).toSorted(), ['gateway', 'hello'])
  for (const { figures } of kept.samples) {
    assert.ok(figures.requests! > 100, `${figures.requests} requests`)
    assert.ok(figures.cpu! > 1 && figures.cpu! < 5000, `${figures.cpu} µs`)
  }
  assert.match(stdout, /\| refused +\| CPU of a 401.*\| (reached|missed by .*) +\|/)
  for (const ending of ['md', 'svg']) assert.ok(existsSync(join(results, `refused.${ending}`)))
})

/** What each entry must have seen at least, of its own figure. */
const LASTING: Record<string, Record<string, [figure: string, least: number]>> = {
  'first-event': { direct: ['streams', 20], gateway: ['streams', 20] },
  echo: { direct: ['messages', 100], gateway: ['messages', 100] },
  sockets: { 'gateway-sockets': ['residentAfter', 1e7], 'gateway-events': ['residentAfter', 1e7] },
  http2: { h1: ['requests', 100], h2: ['requests', 100] },
}

describe('what lasts ends in figures, too:', { concurrency: 4 }, () => {
  for (const [scenario, entries] of Object.entries(LASTING)) {
    test(scenario, { skip: missingH2 }, async t => {
      const results = await mkdtemp(join(tmpdir(), 'nyro-bench-test-'))
      t.after(() => rm(results, { recursive: true, force: true }))
      await promisify(execFile)(process.execPath, [
        ...[MAIN, '--sources', '--only', scenario, '--contenders', 'gateway', '--results', results],
        ...['--rounds', '1', '--seconds', '1', '--warm-up', '1', '--lasting', '100'],
      ])
      const kept = JSON.parse(await readFile(join(results, `${scenario}.json`), 'utf8')) as Kept
      assert.deepEqual(kept.faults, [])
      for (const [entry, [figure, least]] of Object.entries(entries)) {
        const found = kept.samples.find(sample => sample.entry === entry)?.figures[figure] ?? 0
        assert.ok(found > least, `${entry}: ${found} ${figure}`)
      }
    })
  }
})

describe('limits end in figures, too:', { concurrency: 3 }, () => {
  const measure = async (scenario: string, results: string, ...more: string[]): Promise<Kept> => {
    await promisify(execFile)(process.execPath, [
      ...[MAIN, '--sources', '--only', scenario, '--results', results, '--rounds', '1'],
      ...['--seconds', '1', '--warm-up', '1', ...more],
    ])
    return JSON.parse(await readFile(join(results, `${scenario}.json`), 'utf8')) as Kept
  }

  test('a noisy neighbour', { skip: linux }, async t => {
    const results = await mkdtemp(join(tmpdir(), 'nyro-bench-test-'))
    t.after(() => rm(results, { recursive: true, force: true }))
    const kept = await measure('noisy-neighbour', results, '--contenders', 'gateway,gateway-unfair')
    assert.deepEqual(kept.faults, [])
    const [fair, unfair] = ['gateway', 'gateway-unfair'].map(
      name => kept.samples.find(({ entry }) => entry === name)!.figures,
    )
    assert.ok(fair!.quietDue! > 200 && fair!.noisyPerSecond! > 1, `${fair!.quietDue}`)
    assert.ok(fair!.busyPercent! > 5 && fair!.busyPercent! <= 101, `busy ${fair!.busyPercent} %`)
    // A queue of a thousand in front of 200 requests/s, and one that lets a quiet company go first
    assert.ok(fair!.besideP50! < unfair!.besideP50!, `${fair!.besideP50} ms, without ${unfair!.besideP50} ms`)
    const svg = await readFile(join(results, 'noisy-neighbour.svg'), 'utf8')
    assert.equal(svg.match(/class="heading"/g)?.length, 3)
  })

  test('what limits cost', { skip: missing }, async t => {
    const results = await mkdtemp(join(tmpdir(), 'nyro-bench-test-'))
    t.after(() => rm(results, { recursive: true, force: true }))
    const kept = await measure('limits', results, '--contenders', 'gateway-limits')
    assert.deepEqual(kept.faults, [])
    assert.deepEqual(kept.samples.map(({ entry }) => entry).toSorted(), ['none', 'queue', 'rules'])
  })

  test('decisions among many companies', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...['--expose-gc', fileURLToPath(new URL('million-decisions.ts', import.meta.url)), '5000', '1'],
    ])
    const [round, end] = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    assert.ok(round.nanoseconds.million > 50 && round.nanoseconds.hundred > 50, stdout)
    assert.ok(end.state.tableMegabytes < 1, stdout)
  })
})
