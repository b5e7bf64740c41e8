/** The command line: what it prints, where, and with which exit code. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { runCommand, SECRET } from './support/gateway.ts'

let directory: ConfigDirectory

before(() => {
  directory = configDirectory()
})
after(() => directory?.remove())

describe('help and version', () => {
  for (const args of [['--help'], ['-h'], ['start', '--help'], ['help']]) {
    test(`${args.join(' ')} names every command and variable`, async () => {
      const { code, stdout, stderr } = await runCommand(args)
      assert.equal(code, 0, stderr)
      assert.equal(stderr, '')
      for (const word of [
        'start',
        'check',
        'routes',
        'demo',
        '--config',
        'GATEWAY_JWT_SECRET',
        'GATEWAY_JWKS_URL',
        'PORT',
      ]) {
        assert.ok(stdout.includes(word), word)
      }
    })
  }

  test('--version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
    for (const option of ['--version', '-V']) {
      const { code, stdout } = await runCommand([option])
      assert.equal(code, 0)
      assert.match(stdout, new RegExp(`^(nyro-gateway )?${version.replaceAll('.', '\\.')}\\n$`))
    }
  })
})

describe('wrong usage', () => {
  const cases: [string, string[], RegExp][] = [
    ['an unknown command', ['strat'], /strat/],
    ['an unknown option', ['start', '--confg', 'x'], /--confg/],
    ['an option without its value', ['start', '--config'], /--config/],
    ['one word too many', ['check', 'this'], /this/],
    ['a command that is a property of objects', ['constructor'], /constructor/],
    ['__proto__', ['__proto__'], /__proto__/],
  ]
  for (const [what, args, says] of cases) {
    test(`${what} is named, exit 64, nothing on stdout`, async () => {
      const { code, stdout, stderr } = await runCommand(args)
      assert.equal(code, 64)
      assert.match(stderr, says)
      assert.equal(stdout, '')
      assert.doesNotMatch(stderr, /^\s+at /m)
    })
  }

  test('no command at all shows the way to the usage', async () => {
    const { code, stdout, stderr } = await runCommand([])
    assert.ok(code === 0 || code === 64, `exit code ${code}`)
    assert.match(stdout + stderr, /usage|--help/i)
  })
})

describe('check', () => {
  test('says well of a good config, exit 0, and starts nothing', async () => {
    const file = directory.write('good.yaml', 'routes:\n  - { path: /a/*, upstream: "http://127.0.0.1:1" }\n')
    const { code, stdout, stderr } = await runCommand(['check', '--config', file])
    assert.equal(code, 0, stderr)
    assert.ok(stdout.length > 0)
    assert.ok(!(stdout + stderr).includes(SECRET))
  })

  test('checks the environment without a file', async () => {
    assert.equal((await runCommand(['check'])).code, 0)
    const bad = await runCommand(['check'], { env: { PORT: 'x', GATEWAY_LOG_LEVEL: 'x' } })
    assert.equal(bad.code, 78)
    assert.match(bad.stdout + bad.stderr, /PORT/)
    assert.match(bad.stdout + bad.stderr, /GATEWAY_LOG_LEVEL/)
  })

  test('warns of a variable that looks misspelled', async () => {
    const { code, stdout, stderr } = await runCommand(['check'], { env: { GATEWAY_JWT_LEEWAI: '5' } })
    assert.match(stdout + stderr, /GATEWAY_JWT_LEEWAI[\s\S]*GATEWAY_JWT_LEEWAY/)
    assert.equal(code, 0)
  })

  test('is not alarmed by the variables that Kubernetes makes of services', async () => {
    const { code, stdout, stderr } = await runCommand(['check'], {
      env: {
        GATEWAY_SERVICE_SERVICE_HOST: '10.0.0.1',
        GATEWAY_SERVICE_PORT: 'tcp://10.0.0.1:80',
        GATEWAY_PORT_8080_TCP_ADDR: '10.0.0.1',
      },
    })
    assert.equal(code, 0)
    assert.doesNotMatch(stdout + stderr, /GATEWAY_SERVICE|GATEWAY_PORT_8080/)
  })
})

describe('routes', () => {
  test('prints each route with what guards it', async () => {
    const file = directory.write('table.json', {
      routes: [
        { path: '/users/{id}', upstream: 'http://users.internal:8000', methods: ['GET', 'PUT'] },
        {
          path: '/admin/*',
          upstream: 'http://admin.internal',
          require: { roles: ['admin'], claims: { aal: 'aal2' } },
        },
        { path: '/open', host: 'api.example.com', auth: 'none', respond: {} },
        { path: '/maybe', auth: 'optional', upstream: 'http://maybe.internal' },
      ],
    })
    const { code, stdout } = await runCommand(['routes', '-c', file])
    assert.equal(code, 0)
    const line = (part: string): string => {
      const found = stdout.split('\n').filter(text => text.includes(part))
      assert.equal(found.length, 1, `${part} in\n${stdout}`)
      return found[0]!
    }
    assert.match(line('/users/{id}'), /GET.*PUT/)
    assert.match(line('/users/{id}'), /users\.internal:8000/)
    assert.match(line('/users/{id}'), /token|required|jwt/i)
    assert.match(line('/admin/*'), /admin.*aal|aal.*admin/)
    assert.match(line('/open'), /api\.example\.com/)
    assert.doesNotMatch(line('/open'), /required/)
    assert.match(line('/maybe'), /optional|if sent/)
    assert.ok(!stdout.includes(SECRET))
  })

  test('prints those of the environment, and problems instead of a table', async () => {
    const { stdout } = await runCommand(['routes'])
    for (const name of ['ingest', 'query', 'auth']) assert.match(stdout, new RegExp(`/api/v1/${name}/`))
    const bad = await runCommand(['routes'], { env: { PORT: 'x' } })
    assert.equal(bad.code, 78)
    assert.doesNotMatch(bad.stdout, /ingest/)
  })
})
