import { byId, say, seconds } from './elements.js'

const status = 'ask-status'

/** Asks a question and shows the answer while it is being made. */
export function startAnswers(access) {
  const form = byId('ask')
  let running = null

  form.addEventListener('submit', async event => {
    event.preventDefault()
    running?.abort()
    const stop = new AbortController()
    running = stop
    byId('answer').textContent = ''
    byId('ask-stop').disabled = false
    say(status, 'Asking …')
    try {
      await ask(access, form.elements.question.value, stop.signal)
    } catch (error) {
      if (error.name === 'AbortError') say(status, 'Stopped: the service has stopped too.')
      else say(status, error.message, 'bad')
    }
    if (running === stop) byId('ask-stop').disabled = true
  })
  byId('ask-stop').addEventListener('click', () => running?.abort())
}

async function ask(access, question, signal) {
  const start = performance.now()
  const answer = await fetch(`${access.gateway}/api/v1/query/ask`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${await access.token()}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ question }),
    signal,
  })
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.json()).detail}`)
  let reads = 0
  let first = ''
  for await (const events of eventsOf(answer.body)) {
    reads += 1
    first ||= seconds(start)
    for (const { name, data } of events) {
      if (name === 'token') byId('answer').append(data.text)
      else if (name === 'done')
        say(status, `${data.tokens} tokens in ${reads} reads, the first after ${first}`, 'good')
    }
  }
}

/** The events that each read has brought to their end. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let pending = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const parts = (pending + value).split('\n\n')
    pending = parts.pop()
    yield parts.map(part => {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(part) ?? []
      return { name, data: JSON.parse(data ?? 'null') }
    })
  }
}
