/** What scenarios of connections that last have in common: their upstream, and who takes part. */

import { request } from 'node:http'
import { type Contender, does, type Running } from '../contender.ts'
import { present } from '../field.ts'
import { wrk } from '../load/wrk.ts'
import type { Started } from '../process.ts'
import { firstLine, type Result } from '../result.ts'
import { type Run, wanted } from '../run.ts'
import type { Participant, Turns } from '../turns.ts'
import { ANSWER, PATHS } from '../upstream/service.ts'
import { startUpstream, type Upstream } from '../upstream/start.ts'

export const startLasting = (run: Run): Promise<Upstream> => startUpstream(run, 'lasting.ts')

/** One upgrade without a token: who verifies tokens must refuse it before it may be measured. */
export async function refusesStrangers(contender: Contender, { port }: Running, path: string): Promise<void> {
  if (!does(contender, 'token')) return
  const status = await new Promise<number>((resolve, reject) => {
    const headers = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    }
    const question = request({ port, path, host: '127.0.0.1', agent: false, headers }, answer => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
    question.on('upgrade', (_, socket) => {
      socket.destroy()
      resolve(101)
    })
    question.on('error', reject)
    question.end()
  })
  if (status !== 401) throw new Error(`${contender.name} answers ${status} to an upgrade without a token`)
}

/** Under load, for as long as others are warmed up: what is compiled in service must be compiled here. */
export async function warmUp({ port }: Running, run: Run): Promise<void> {
  const question = { method: 'GET', path: PATHS.small, token: true } as const
  const load = { kind: 'wrk', connections: 64, question, expected: { status: 200, body: ANSWER } } as const
  await wrk(load, port, run.warmUp, run.cores.load)
}

export type Lasting = Participant & {
  /** Its own kind of load, as dense as it goes. */
  warmUp: () => Promise<void>
}

export type Field = {
  participants: (Lasting & { label: string })[]
  leftOut: string[]
  faults: string[]
  stop: () => Promise<void>
}

/** Starts the upstream and the contenders; the upstream asked directly takes part, too. */
export async function lastingField(
  run: Run,
  candidates: Contender[],
  path: string,
  participant: (name: string, port: number) => Lasting,
): Promise<Field> {
  const { contenders, leftOut } = await present(wanted(run, candidates))
  leftOut.forEach(run.say)
  const upstream = await startLasting(run)
  const direct = { ...participant('direct', upstream.port), label: 'the upstream asked directly' }
  await direct.warmUp()
  const field: Field = { participants: [direct], leftOut, faults: [], stop }
  const started: Started[] = []
  for (const contender of contenders) {
    try {
      const running = await contender.start({ ...run, upstreamPort: upstream.port })
      started.push(running.process)
      await refusesStrangers(contender, running, path)
      const own = participant(contender.name, running.port)
      await warmUp(running, run)
      await own.warmUp()
      field.participants.push({ ...own, label: contender.label })
    } catch (error) {
      field.faults.push(`${contender.name} left: ${firstLine(error)}`)
    }
  }
  return field

  async function stop(): Promise<void> {
    await Promise.all(started.map(process => process.stop()))
    await upstream.process.stop()
  }
}

/** Those whose turns were all taken. */
export function finishersOf({ participants }: Field, { samples }: Turns): Field['participants'] {
  return participants.filter(({ name }) => samples.some(({ entry }) => entry === name))
}

export type LastingResult = Omit<Result, 'faults' | 'samples' | 'notes'> & { notes: string[] }

export function withTurns(result: LastingResult, { leftOut, faults }: Field, turns: Turns): Result {
  return {
    ...result,
    notes: [...result.notes, ...leftOut],
    faults: [...faults, ...turns.faults],
    samples: turns.samples,
  }
}
