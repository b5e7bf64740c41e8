/** Usage end to end: what clients did is what the admin port, the command line and the file say, whatever happens between. */

import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { open, send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, runCommand, startGateway } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { exchangeRaw } from './support/raw.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { counted, ofCompany, rowOf } from './support/usage.ts'
import { echo, pair, socketService } from './support/websocket.ts'

const CONFIG = `
import { defineGateway, type Policy } from 'nyro-gateway'

const exit: Policy = () => process.exit(7)

export default defineGateway({
  usage: { file: '\${USAGE_FILE}' },
  routes: [
    { name: 'orders', path: '/orders/*', upstream: '\${UPSTREAM}', cost: { header: 'X-Cost' } },
    { name: 'reports', path: '/reports', respond: { body: 'report' }, cost: 2.5 },
    { name: 'sockets', path: '/sockets', upstream: '\${SOCKETS:-http://127.0.0.1:1}' },
    { name: 'dead', path: '/dead', upstream: 'http://127.0.0.1:1' },
    { path: '/exit', auth: 'none', respond: {}, policies: [exit] },
  ],
})
`

const today = (): string => new Date().toISOString().slice(0, 10)

for (const workers of [1, 2]) {
  describe(`usage with ${workers} ${workers === 1 ? 'worker' : 'workers'}`, () => {
    let directory: ConfigDirectory
    let upstream: HttpUpstream
    let gateway: GatewayProcess
    const more: Record<string, string> = {}

    const start = async (): Promise<GatewayProcess> =>
      startGateway({ args: ['--config', `${directory.path}/gateway.config.ts`], env: env() })
    const env = (): Record<string, string> => ({
      GATEWAY_WORKERS: String(workers),
      GATEWAY_ADMIN_PORT: '0',
      UPSTREAM: upstream.url,
      USAGE_FILE: `${directory.path}/usage.db`,
      ...more,
    })

    before(async () => {
      directory = configDirectory()
      directory.write('gateway.config.ts', CONFIG)
      upstream = await httpUpstream(async ({ whole, response, target }) => {
        await whole
        const status = /status=(\d+)/.exec(target)?.[1]
        response.writeHead(Number(status ?? 200), target.includes('slow') ? { 'x-cost': '7' } : {})
        if (target.includes('slow')) {
          response.write('01234')
          setTimeout(() => response.end('56789'), 300)
        } else response.end('0123456789')
      })
      gateway = await start()
    })
    after(async () => {
      gateway?.child.kill('SIGKILL')
      await upstream?.close()
      directory?.remove()
    })

    async function load(count: number): Promise<void> {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 8 })
      const jobs = Array.from({ length: count }, (_, index) => async () => {
        const headers = ofCompany(index % 3 === 0 ? 'beta' : 'acme')
        if (index % 2 === 0) await send(`${gateway.url}/reports`, { headers, agent })
        else await send(`${gateway.url}/orders/1`, { method: 'POST', headers, agent, body: 'abc' })
      })
      await Promise.all(jobs.map(job => job()))
      agent.destroy()
    }

    test('each request is counted, for its company and its route', async () => {
      await load(240)
      assert.equal((await counted(gateway, 'acme', 'orders', 80)).bytes_out, 800)
      assert.equal((await counted(gateway, 'acme', 'reports', 80)).cost, 200)
      const beta = await counted(gateway, 'beta', 'orders', 40)
      assert.deepEqual([beta.bytes_in, beta.bytes_out, beta.cost], [120, 400, 40])
      assert.ok(beta.upstream_seconds > 0 && beta.upstream_seconds < 600)
      const reports = await counted(gateway, 'beta', 'reports', 40)
      assert.deepEqual([reports.bytes_out, reports.errors, reports.upstream_seconds], [240, 0, 0])
    })

    test('and once again, after a restart', async () => {
      assert.equal(await gateway.stop(), 0)
      gateway = await start()
      assert.equal((await rowOf(gateway, 'acme', 'orders')).requests, 80)
      await load(120)
      await counted(gateway, 'acme', 'orders', 120)
      await counted(gateway, 'beta', 'orders', 60)
      await counted(gateway, 'acme', 'reports', 120)
      await counted(gateway, 'beta', 'reports', 60)
    })

    test('a process that is killed has lost nothing that was written', async () => {
      const before = await rowOf(gateway, 'acme', 'reports')
      await load(30)
      await counted(gateway, 'acme', 'reports', before.requests + 10)
      gateway.child.kill('SIGKILL')
      await gateway.stop()
      gateway = await start()
      assert.equal((await rowOf(gateway, 'acme', 'reports')).requests, before.requests + 10)
    })

    test('what ended while it stops is written before it has ended', async () => {
      const held = await httpUpstream(({ response }) => void response.writeHead(200).write('first;'))
      more.UPSTREAM = held.url
      await gateway.stop()
      gateway = await start()
      const { request, answered } = open(`${gateway.url}/orders/held`, { headers: ofCompany('late') })
      request.end()
      const response = await answered
      const ended = gateway.stop()
      const [{ response: upstreamResponse }] = held.requests as [(typeof held.requests)[0]]
      await gateway.logged(({ event }) => event === 'Gateway draining')
      upstreamResponse.end('last')
      for await (const _ of response);
      assert.equal(await ended, 0)
      await held.close()
      delete more.UPSTREAM
      gateway = await start()
      const row = await rowOf(gateway, 'late', 'orders')
      assert.deepEqual([row.requests, row.bytes_out], [1, 10])
    })

    test('refusals and failures are told apart', async () => {
      const headers = ofCompany('gamma')
      const statuses = await Promise.all(
        [
          send(`${gateway.url}/orders/1?status=404`, { headers }),
          send(`${gateway.url}/orders/1?status=500`, { headers }),
          send(`${gateway.url}/dead`, { headers }),
          send(`${gateway.url}/reports`),
          send(`${gateway.url}/nowhere`, { headers }),
        ].map(async answer => (await answer).status),
      )
      assert.deepEqual(statuses, [404, 500, 503, 401, 404])
      const orders = await counted(gateway, 'gamma', 'orders', 2)
      assert.deepEqual([orders.errors, orders.refused], [1, 1])
      const dead = await counted(gateway, 'gamma', 'dead', 1)
      assert.deepEqual([dead.errors, dead.refused, dead.cost], [1, 0, 0])
      const unknown = await counted(gateway, null, 'reports', 1)
      assert.deepEqual([unknown.errors, unknown.refused], [0, 1])
      assert.equal((await counted(gateway, null, null, 1)).refused, 1)
    })

    test('a service has worked until the last byte of its answer, and says what that cost', async () => {
      await send(`${gateway.url}/orders/slow`, { headers: ofCompany('slow') })
      const row = await counted(gateway, 'slow', 'orders', 1)
      assert.ok(row.upstream_seconds > 0.25 && row.upstream_seconds < 60, String(row.upstream_seconds))
      assert.deepEqual([row.bytes_out, row.cost], [10, 7])
    })

    test('the bytes of WebSockets and streams are counted at their end, both ways', async () => {
      const sockets = await socketService({ onSocket: echo, perMessageDeflate: false })
      more.SOCKETS = sockets.url
      await gateway.stop()
      gateway = await start()
      const signed = token(claims({ app_metadata: { company_id: 'sockets' } }))
      const { client } = await pair(`${gateway.url}/sockets`, sockets, { token: signed })
      client.socket.send('x'.repeat(100_000))
      await new Promise(resolve => client.socket.once('message', resolve))
      assert.equal((await rowOf(gateway, 'sockets', 'sockets')).requests, 0, 'it has not ended')
      client.socket.close(1000)
      const row = await counted(gateway, 'sockets', 'sockets', 1)
      assert.ok(row.bytes_in > 100_000 && row.bytes_in < 100_100, String(row.bytes_in))
      assert.ok(row.bytes_out > 100_000 && row.bytes_out < 100_100, String(row.bytes_out))
      assert.ok(row.upstream_seconds > 0)
      await sockets.close()
    })

    test('the command line prints the same as a table and as CSV, while it runs and when it has stopped', async () => {
      const args = ['usage', '--config', `${directory.path}/gateway.config.ts`, '--by', 'company,route']
      for (const stopped of [false, true]) {
        if (stopped) await gateway.stop()
        const table = await runCommand([...args, '--company', 'beta'], { env: env() })
        assert.equal(table.code, 0, table.stderr)
        assert.equal(table.stderr, '')
        assert.match(
          table.stdout,
          /^COMPANY +ROUTE +REQUESTS .*\nbeta +orders +65 .*\nbeta +reports +65 .*\nTOTAL +130 /,
        )
        const csv = await runCommand([...args, '--csv', '--from', today(), '--to', today()], { env: env() })
        assert.match(csv.stdout, /^company,route,requests,.*\r\n/)
        assert.match(csv.stdout, /\r\nbeta,reports,65,0,0,0,390,162.5,0\r\n/)
      }
      gateway = await start()
    })

    test('the admin port answers as JSON and CSV, and says what is wrong with a question', async () => {
      const url = `${gateway.adminUrl}/usage`
      const whole = await send(`${url}?company=beta&from=${today()}&to=${today()}`)
      assert.equal(whole.headers['content-type'], 'application/json')
      const { from, to, time_zone: timeZone, rows, total } = whole.json()
      assert.deepEqual([from, to, timeZone, rows.length, total.requests], [today(), today(), 'UTC', 2, 130])
      assert.deepEqual(Object.keys(rows[0]).slice(0, 4), ['day', 'company', 'route', 'requests'])
      const byRoute = await send(`${url}?company=beta&route=reports&by=route`)
      assert.deepEqual(byRoute.json().rows[0].requests, 65)
      for (const asked of [
        send(`${url}?by=company&company=beta`, { headers: { accept: 'text/csv' } }),
        send(`${url}?by=company&company=beta&format=csv`),
      ]) {
        const { headers, text } = await asked
        assert.equal(headers['content-type'], 'text/csv; charset=utf-8')
        assert.match(text, /^company,requests,errors,.*\r\nbeta,130,0,0,[^\r\n]*\r\n$/)
      }
      for (const [query, says] of [
        ['from=yesterday', /from must be a day/],
        ['from=2026-02-02&to=2026-02-01', /comes after/],
        ['by=hour', /by must be/],
        ['format=xml', /format must be/],
        ['compnay=acme', /"compnay" is no parameter/],
        ['by=day&by=route', /by is given twice/],
      ] as const) {
        const answer = await send(`${url}?${query}`)
        assert.equal(answer.status, 400, query)
        assert.equal(answer.headers['content-type'], 'application/problem+json')
        assert.match(answer.json().detail, says)
      }
      assert.equal((await send(url, { method: 'POST' })).status, 405)
    })

    if (workers > 1) {
      test('a worker that dies under load takes nothing with it that had ended', async () => {
        const headers = ofCompany('victims')
        const deaths = () => gateway.log.filter(({ event }) => String(event).startsWith('Worker died')).length
        let answered = 0
        let stop = false
        const clients = Array.from({ length: 8 }, async () => {
          const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
          while (!stop) {
            await send(`${gateway.url}/reports`, { headers, agent }).then(
              () => answered++,
              () => {},
            )
          }
          agent.destroy()
        })
        for (let death = 1; death <= 2; death++) {
          const enough = answered + 200
          await until('there is load', () => answered > enough)
          await exchangeRaw(gateway.port, 'GET /exit HTTP/1.1\r\nHost: a\r\n\r\n')
          await until('it is known', () => deaths() === death)
        }
        const enough = answered + 100
        await until('it goes on', () => answered > enough)
        stop = true
        await Promise.all(clients)
        // The log has a line for each exchange that ended, and a worker that dies still hands over its last ones: those
        // whose answers the clients never got are among them.
        await gateway.stop()
        const logged = gateway.log.filter(({ company_id: company }) => company === 'victims').length
        gateway = await start()
        const { requests } = await rowOf(gateway, 'victims', 'reports')
        assert.equal(requests, logged)
        assert.ok(requests >= answered, `${answered} answered, ${requests} counted`)
      })
    }
  })
}
