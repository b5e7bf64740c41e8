/** Loads that are processes of their own: they prepare, say so, wait for the word, and send back what they saw. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

type Message<Outcome> = { ready: true } | { outcome: Outcome } | { error: string }

export type Prepared<Outcome> = { go: () => Promise<Outcome> }

/** Starts a load and lets it prepare; what it needs for that is not part of the measured time. */
export function prepareProgram<Plan extends object, Outcome>(
  file: URL,
  plan: Plan,
): Promise<Prepared<Outcome>> {
  return new Promise((resolve, reject) => {
    // It inherits the core of the load: this process was moved there first.
    const child = fork(fileURLToPath(file), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const outcome = Promise.withResolvers<Outcome>()
    // A failure before the word was given is told by this function's own promise.
    outcome.promise.catch(() => undefined)
    const fail = (error: Error): void => {
      reject(error)
      outcome.reject(error)
    }
    child.on('message', (message: Message<Outcome>) => {
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
    child.on('exit', code => fail(new Error(`the load ended with ${code ?? 'a signal'}`)))
    child.send(plan)
  })
}

/** The other side of `prepareProgram`: what a load's file does when it is run. `word` says that it is ready and waits. */
export function asProgram<Plan, Outcome>(
  run: (plan: Plan, word: () => Promise<void>) => Promise<Outcome>,
): void {
  const word = async (): Promise<void> => {
    process.send?.({ ready: true })
    await once(process, 'message')
  }
  process.once('message', (plan: Plan) => {
    run(plan, word).then(
      outcome => process.send?.({ outcome }, () => process.exit(0)),
      error => process.send?.({ error: String(error) }, () => process.exit(1)),
    )
  })
  process.once('disconnect', () => process.exit(1))
}
