import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Outcome, Plan } from './plan.ts'

const GENERATOR = fileURLToPath(new URL('generator.ts', import.meta.url))

type Message = { ready: true } | { outcome: Outcome } | { error: string }

export type Prepared = { go: () => Promise<Outcome> }

/** Starts a generator and lets it prepare its requests; what it needs for that is not part of the measured time. */
export function prepareLoad(plan: Plan): Promise<Prepared> {
  return new Promise((resolve, reject) => {
    // It inherits the core of the load: this process was moved there first.
    const child = fork(GENERATOR, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const outcome = Promise.withResolvers<Outcome>()
    // A failure before the word was given is told by this function's own promise.
    outcome.promise.catch(() => undefined)
    const fail = (error: Error): void => {
      reject(error)
      outcome.reject(error)
    }
    child.on('message', (message: Message) => {
      if ('ready' in message) {
        resolve({
          go: () => {
            child.send('go')
            return outcome.promise
          },
        })
      } else if ('outcome' in message) outcome.resolve(message.outcome)
      else fail(new Error(message.error))
    })
    child.on('error', fail)
    child.on('exit', code => fail(new Error(`the load generator ended with ${code ?? 'a signal'}`)))
    child.send(plan)
  })
}

/** Prepares and runs in one go. */
export async function generate(plan: Plan): Promise<Outcome> {
  const { go } = await prepareLoad(plan)
  return go()
}
