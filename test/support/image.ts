/**
 * Follows a Dockerfile without a container engine: each stage becomes a folder that holds exactly what the stage
 * copies, and its commands run there. The base image's part is played by this machine: its Node, its packages.
 */

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export interface Image {
  /** Folder that stands for `/`. */
  readonly root: string
  readonly workdir: string
  readonly user: string
  readonly env: Readonly<Record<string, string>>
  readonly exposed: readonly string[]
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly healthcheck: readonly string[]
  remove(): void
}

interface Instruction {
  readonly name: string
  readonly text: string
}

interface Stage {
  readonly root: string
  readonly env: Record<string, string>
  readonly exposed: string[]
  workdir: string
  user: string
  entrypoint: readonly string[]
  command: readonly string[]
  healthcheck: readonly string[]
}

/** Builds the last stage of `<context>/<dockerfile>`, through those it copies from. */
export function buildImage(context: string, dockerfile: string): Image {
  const base = mkdtempSync(path.join(tmpdir(), 'nyro-image-'))
  const isIgnored = ignoreRules(readFileSync(path.join(context, `${dockerfile}.dockerignore`), 'utf8'))
  const stages = new Map<string, Stage>()
  let stage: Stage | undefined
  for (const { name, text } of parse(readFileSync(path.join(context, dockerfile), 'utf8'))) {
    if (name === 'FROM') {
      const alias = / AS (\S+)$/i.exec(text)?.[1] ?? `stage-${stages.size}`
      stage = newStage(path.join(base, alias))
      stages.set(alias, stage)
    } else if (name === 'COPY') {
      copy(stage!, text, { context, isIgnored, stages })
    } else if (name === 'RUN') {
      run(stage!, text, context)
    } else {
      set(stage!, name, text)
    }
  }
  if (stage === undefined) throw new Error('a Dockerfile without a stage')
  return { ...stage, remove: () => rmSync(base, { recursive: true, force: true }) }
}

/** Instructions with their comments gone and their continuation lines joined. */
export function parse(text: string): Instruction[] {
  return text
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter(line => line.trim() !== '')
    .map(line => {
      const [name = '', ...rest] = line.trim().split(/\s+/)
      return { name: name.toUpperCase(), text: rest.join(' ') }
    })
}

/** Whether a path of the context stays behind; the last rule that fits it or a folder above it decides. */
export function ignoreRules(text: string): (file: string) => boolean {
  const rules = text.split('\n').filter(line => line.trim() !== '' && !line.startsWith('#'))
  return file => {
    const parts = file.split('/')
    const places = parts.map((_, index) => parts.slice(0, index + 1).join('/'))
    const last = rules.findLast(rule => places.some(place => fits(rule).test(place)))
    return last !== undefined && !last.startsWith('!')
  }
}

/** `*` within one name, dot files too; a double one with its slash for any folders or none. */
function fits(rule: string): RegExp {
  const pattern = rule
    .replace(/^!/, '')
    .split(/(\*\*\/|\*)/)
    .map(part => ({ '**/': '(?:.*/)?', '*': '[^/]*' })[part] ?? part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${pattern.join('')}$`)
}

function newStage(root: string): Stage {
  mkdirSync(root)
  return {
    root,
    env: {},
    exposed: [],
    workdir: '/',
    user: '0:0',
    entrypoint: [],
    command: [],
    healthcheck: [],
  }
}

interface Sources {
  readonly context: string
  readonly isIgnored: (file: string) => boolean
  readonly stages: ReadonlyMap<string, Stage>
}

function copy(stage: Stage, text: string, { context, isIgnored, stages }: Sources): void {
  const words = text.split(' ')
  const from = words[0]!.startsWith('--from=') ? stages.get(words.shift()!.slice('--from='.length))! : null
  const target = path.resolve('/', stage.workdir, words.at(-1)!)
  for (const source of words.slice(0, -1)) {
    const origin = path.join(from === null ? context : from.root, source)
    const isFolder = statSync(origin).isDirectory()
    const intoFolder = !isFolder && /(^|\/)\.?\/?$/.test(words.at(-1)!)
    const place = path.join(stage.root, target, intoFolder ? path.basename(source) : '')
    cpSync(origin, place, {
      recursive: true,
      filter: file =>
        from !== null || statSync(file).isDirectory() || !isIgnored(path.relative(context, file)),
    })
  }
}

/** `npm ci` gives what is already installed; anything else runs as it is written. */
function run(stage: Stage, text: string, context: string): void {
  const cwd = path.join(stage.root, stage.workdir)
  if (text === 'npm ci')
    return symlinkSync(path.join(context, 'node_modules'), path.join(cwd, 'node_modules'))
  const { status, stderr, stdout } = spawnSync('sh', ['-c', text], { cwd, encoding: 'utf8', timeout: 60_000 })
  if (status !== 0) throw new Error(`RUN ${text}: ${stdout}${stderr}`)
}

function set(stage: Stage, name: string, text: string): void {
  switch (name) {
    case 'WORKDIR':
      stage.workdir = text
      mkdirSync(path.join(stage.root, text), { recursive: true })
      return
    case 'ENV':
      for (const pair of text.split(' ')) {
        const equals = pair.indexOf('=')
        stage.env[pair.slice(0, equals)] = pair.slice(equals + 1)
      }
      return
    case 'EXPOSE':
      stage.exposed.push(...text.split(' '))
      return
    case 'USER':
      stage.user = text
      return
    case 'ENTRYPOINT':
      stage.entrypoint = execForm(text)
      return
    case 'CMD':
      stage.command = execForm(text)
      return
    case 'HEALTHCHECK':
      stage.healthcheck = execForm(text.slice(text.indexOf('CMD ') + 4))
      return
    case 'LABEL':
      return
    default:
      throw new Error(`an instruction that is not understood here: ${name}`)
  }
}

/** The JSON form, which runs without a shell in between: a shell as process 1 would keep SIGTERM to itself. */
function execForm(text: string): string[] {
  return JSON.parse(text) as string[]
}
