/** The documents against the code: what exists is documented, what is documented exists, examples load. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { HELP } from '../src/cli/help.ts'
import { OTHER_SETTINGS, SETTINGS } from '../src/config/env.ts'
import { loadConfig } from '../src/config/load.ts'
import { gatewaySchema } from '../src/config/schema.ts'
import { ERRORS } from '../src/errors.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const SECRET = 'documented-secret-of-thirty-two-bytes-or-more'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const DOCUMENTS = globSync(['*.md', 'docs/*.md', 'deploy/**/*.md', 'examples/**/*.md', 'bench/*.md'], {
  cwd: ROOT,
}).sort()

interface Fence {
  readonly language: string
  /** The word behind the language: the name of the file that the block is, whole. */
  readonly file: string
  readonly code: string
}

const FENCE = /^```(\w*) *(\S*)\n([\s\S]*?)^```$/gm

function fences(text: string): Fence[] {
  return [...text.matchAll(FENCE)].map(([, language, file, code]) => ({
    language: language!,
    file: file!,
    code: code!,
  }))
}

const prose = (text: string): string => text.replace(FENCE, '')

function headings(text: string): { level: number; anchor: string }[] {
  return [...prose(text).matchAll(/^(#+) (.+)$/gm)].map(([, marks, title]) => ({
    level: marks!.length,
    anchor: title!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  }))
}

/** The cells of every table row whose first cell is one word of code. */
function codeRows(text: string): { name: string; cells: string[] }[] {
  return prose(text)
    .split('\n')
    .filter(line => /^\| `[^`]+` \|/.test(line))
    .map(line => line.slice(2, -2).split(' | '))
    .map(([name, ...cells]) => ({ name: name!.slice(1, -1), cells }))
}

function links(text: string): string[] {
  return [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
}

interface SchemaNode {
  readonly shape?: Record<string, SchemaNode>
  readonly _zod: {
    readonly def: {
      readonly type: string
      readonly defaultValue?: unknown
      readonly innerType?: SchemaNode
      /** Of a value that is transformed: what is written. */
      readonly in?: SchemaNode
      readonly options?: readonly SchemaNode[]
      readonly valueType?: SchemaNode
      readonly element?: SchemaNode
    }
  }
}

function unwrap(node: SchemaNode): SchemaNode {
  return node._zod.def.innerType === undefined ? node : unwrap(node._zod.def.innerType)
}

/** Every key of the schema with its default as the documents write it. A part used twice is listed where it stands first. */
function schemaKeys(): Map<string, string> {
  const keys = new Map<string, string>()
  const seen = new Set<SchemaNode>()

  function walkObject(node: SchemaNode, path: string): void {
    seen.add(node)
    for (const [name, member] of Object.entries(node.shape!))
      walk(member, path === '' ? name : `${path}.${name}`)
  }

  function walk(member: SchemaNode, path: string): void {
    const { type, defaultValue } = (member._zod.def.in ?? member)._zod.def
    const inner = unwrap(member)
    const { options, valueType, element } = inner._zod.def
    const object = (options ?? [inner]).map(unwrap).find(node => node.shape !== undefined)
    if (object !== undefined && !seen.has(object)) return walkObject(object, path)
    keys.set(path, type === 'default' ? written(defaultValue) : '—')
    const entry = valueType ?? element
    if (entry === undefined || unwrap(entry).shape === undefined) return
    walkObject(unwrap(entry), valueType === undefined ? `${path}[]` : `${path}.<name>`)
  }

  walkObject(gatewaySchema as unknown as SchemaNode, '')
  return keys
}

function written(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return `\`${text === '' ? '(empty)' : text}\``
}

describe('docs/configuration.md', () => {
  const text = read('docs/configuration.md')
  const tables = text.slice(text.indexOf('\n## Keys'), text.indexOf('\n## Routes\n'))
  const documented = new Map(codeRows(tables).map(({ name, cells }) => [name, cells]))

  it('has every key of the schema, with its default, and no other', () => {
    const keys = schemaKeys()
    assert.ok(keys.size > 60, `the walk found only ${keys.size} keys`)
    assert.deepEqual([...documented.keys()].sort(), [...keys.keys()].sort())
    for (const [key, value] of keys) assert.equal(documented.get(key)![1], value, `default of ${key}`)
  })

  it('has every variable, with the key that it sets, and no other', () => {
    const part = text.slice(text.indexOf('\n## Environment'), text.indexOf('\n### Default routes'))
    const rows = codeRows(part)
    const known = [...Object.keys(SETTINGS), ...Object.keys(OTHER_SETTINGS)]
    assert.deepEqual(rows.map(({ name }) => name).sort(), known.sort())
    for (const { name, cells } of rows) {
      const path = SETTINGS[name]?.path
      if (path !== undefined) assert.equal(cells[0], `\`${path.join('.')}\``, name)
    }
  })
})

describe('docs/operations.md', () => {
  it('has every error code with its status, source and retry, and no other', () => {
    const text = read('docs/operations.md')
    const part = text.slice(text.indexOf('\n## Errors'), text.indexOf('\n## Troubleshooting'))
    const rows = codeRows(part).map(({ name, cells }) => [name, cells.slice(0, 3).join(' ').trim()] as const)
    const codes = Object.entries(ERRORS).map(
      ([code, { status, source, retryable }]) =>
        [code, `${status} ${source}${retryable ? ' yes' : ''}`] as const,
    )
    assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(codes))
  })
})

describe('README.es.md', () => {
  const english = read('README.md')
  const spanish = read('README.es.md')

  it('has the headings of README.md', () => {
    const levels = (text: string): number[] => headings(text).map(({ level }) => level)
    assert.deepEqual(levels(spanish), levels(english))
  })

  it('has the code blocks of README.md, comments apart', () => {
    const code = (text: string): string[] =>
      fences(text).map(fence => `${fence.language}\n${fence.code.replace(/^(?:\/\/|#) .*$/gm, '')}`)
    assert.deepEqual(code(spanish), code(english))
  })

  it('has the table rows, code words and links of README.md', () => {
    const rows = (text: string): number => prose(text).match(/^\|/gm)!.length
    const words = (text: string): string[] =>
      [...prose(text).matchAll(/`([^`\n]+)`/g)].map(([, w]) => w!).sort()
    const targets = (text: string): string[] => links(text).filter(target => !target.startsWith('README'))
    assert.equal(rows(spanish), rows(english))
    assert.deepEqual(words(spanish), words(english))
    assert.deepEqual(targets(spanish), targets(english))
  })
})

describe('every document', () => {
  for (const document of DOCUMENTS) {
    it(`${document} links only to what exists`, () => {
      const dead = links(read(document)).filter(target => !exists(target, document))
      assert.deepEqual(dead, [])
    })
  }

  function exists(target: string, document: string): boolean {
    if (/^[a-z]+:/.test(target)) return true
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? join(ROOT, document) : resolve(ROOT, dirname(document), path)
    if (relative(ROOT, file).startsWith('..') || !existsSync(file)) return false
    return anchor === undefined || headings(readFileSync(file, 'utf8')).some(it => it.anchor === anchor)
  }

  it('names only commands and scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const commands = [...HELP.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name!)
    assert.ok(commands.includes('start') && commands.includes('check'), HELP)
    const unknown: string[] = []
    for (const document of DOCUMENTS) {
      const shell = fences(read(document)).filter(({ language }) => /^(?:bash|sh|console)$/.test(language))
      for (const { code } of shell) {
        for (const [whole, script] of code.matchAll(/npm run ([\w:-]+)/g))
          if (scripts[script!] === undefined) unknown.push(`${document}: ${whole}`)
        for (const [whole, command] of code.matchAll(/^nyro-gateway(?:\.js)? ([a-z]+)/gm))
          if (!commands.includes(command!)) unknown.push(`${document}: ${whole}`)
      }
    }
    assert.deepEqual(unknown, [])
  })
})

describe('configurations in the documents', () => {
  const examples = DOCUMENTS.flatMap(document =>
    fences(read(document))
      .filter(({ file }) => file.startsWith('gateway.config.'))
      .map((fence, index) => ({ ...fence, name: `${document} ${index + 1}: ${fence.file}` })),
  )
  let folder = ''
  const placeOf = (name: string): string => join(folder, String(examples.findIndex(it => it.name === name)))

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'nyro-docs-'))
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    for (const { name, file, code } of examples) {
      mkdirSync(placeOf(name))
      writeFileSync(join(placeOf(name), file), code)
    }
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('are in both languages of the README and in docs/configuration.md', () => {
    for (const document of ['README.md', 'README.es.md', 'docs/configuration.md']) {
      for (const ending of ['.yaml', '.ts']) {
        const found = examples.some(({ name }) => name.startsWith(`${document} `) && name.endsWith(ending))
        assert.ok(found, `${document} has no whole ${ending} config`)
      }
    }
  })

  for (const { name } of examples) {
    it(`${name} loads without a problem or warning`, async () => {
      const loaded = await loadConfig({
        directory: placeOf(name),
        dotenv: false,
        env: { GATEWAY_JWT_SECRET: SECRET },
      })
      assert.deepEqual(loaded.problems, [])
      assert.deepEqual(loaded.warnings, [])
      assert.ok(loaded.config !== null && loaded.config.routes.length > 0)
    })
  }

  it('in TypeScript compile', () => {
    const settings = {
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: {
        typeRoots: [join(ROOT, 'node_modules/@types')],
        paths: { 'nyro-gateway': [join(ROOT, 'src/index.ts')] },
      },
      include: ['*/*.ts'],
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings))
    const { status, stdout } = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', folder], {
      encoding: 'utf8',
    })
    assert.equal(status, 0, stdout)
  })
})

describe('what the documents promise of the configuration', () => {
  const load = async (env: Record<string, string>, directory = import.meta.dirname) => {
    const loaded = await loadConfig({
      directory,
      dotenv: false,
      env: { GATEWAY_JWT_SECRET: SECRET, ...env },
    })
    assert.deepEqual(loaded.problems, [])
    return loaded.config!
  }

  it('localhost is an origin only while neither file nor list says otherwise', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nyro-docs-'))
    const origins = async (env: Record<string, string> = {}) => {
      const { cors } = await load(env, folder)
      return cors === false ? [] : cors.origins
    }
    const list = { GATEWAY_CORS_ORIGINS: 'https://b.example.com' }
    const vercel = { VERCEL_FRONTEND_URL: 'https://c.example.com' }
    try {
      assert.deepEqual(await origins(), ['http://localhost:3000'])
      assert.deepEqual(await origins(list), ['https://b.example.com'])
      assert.deepEqual(await origins(vercel), ['http://localhost:3000', 'https://c.example.com'])
      writeFileSync(join(folder, 'gateway.config.yaml'), 'cors: { origins: ["https://a.example.com"] }')
      assert.deepEqual(await origins(), ['https://a.example.com'])
      assert.deepEqual(await origins({ ...list, ...vercel }), [
        'https://a.example.com',
        'https://b.example.com',
        'https://c.example.com',
      ])
      writeFileSync(join(folder, 'gateway.config.yaml'), 'cors: false')
      assert.deepEqual(await origins(list), [])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('a list of the environment replaces that of the file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nyro-docs-'))
    try {
      writeFileSync(
        join(folder, 'gateway.config.yaml'),
        'server: { trustedProxies: [10.0.0.1] }\nidentity: { issuer: [a] }',
      )
      const config = await load({ GATEWAY_TRUSTED_PROXIES: '10.0.0.2', GATEWAY_JWT_ISSUER: 'b' }, folder)
      assert.deepEqual(
        config.server.trustedProxies.map(({ address }) => address),
        ['10.0.0.2'],
      )
      assert.deepEqual(config.identity.issuer, ['b'])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('variables match in any letter case', async () => {
    const config = await load({ gateway_log_level: 'Warn', gateway_ingest_service_url: 'http://ingest:1' })
    assert.equal(config.log.level, 'warning')
    assert.equal(config.upstreams.ingest?.url, 'http://ingest:1')
  })
})
