import { byId, say } from './elements.js'

/** Errors are JSON that scripts of other origins may read too, with their id. */
export function startRefusals(access) {
  byId('refuse').addEventListener('click', async () => {
    const answer = await fetch(`${access.gateway}/api/v1/query/ask?q=Who+is+there`)
    byId('refusal').textContent = JSON.stringify(await answer.json(), null, 2)
    const id = answer.headers.get('X-Request-ID')
    say('refusal-status', `${answer.status}, X-Request-ID ${id}`, answer.ok ? 'good' : 'bad')
  })
}
