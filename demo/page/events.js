import { byId, log, say } from './elements.js'

const status = 'events-status'
const retryAfter = 1_000

/** Listens to events, and goes on behind the last one whenever the connection has broken. */
export function startEvents(access) {
  let source = null
  let last = ''

  byId('events-start').addEventListener('click', () => void listen())
  byId('events-stop').addEventListener('click', () => stop('Stopped.'))

  async function listen() {
    byId('events-start').disabled = true
    byId('events-stop').disabled = false
    try {
      const query = new URLSearchParams({ ticket: await access.ticket(), last_event_id: last })
      open(new EventSource(`${access.gateway}/api/v1/query/events?${query}`))
    } catch (error) {
      stop(error.message, 'bad')
    }
  }

  function open(opened) {
    source?.close()
    source = opened
    opened.addEventListener('open', () => say(status, 'Listening.', 'good'))
    opened.addEventListener('tick', ({ data, lastEventId }) => {
      last = lastEventId
      const { number, company_id: company, at } = JSON.parse(data)
      log('events', `${number}  for ${company}, ${new Date(at).toLocaleTimeString()}`)
    })
    opened.addEventListener('error', ({ data }) => {
      // An event of this name is the gateway's farewell; without data it is the browser's word for a broken connection.
      if (data !== undefined) return stop(`The gateway ended it: ${JSON.parse(data).detail}`, 'bad')
      opened.close()
      say(status, 'The connection broke. A new ticket is on its way …')
      setTimeout(() => source === opened && void listen(), retryAfter)
    })
  }

  function stop(text, kind) {
    source?.close()
    source = null
    byId('events-start').disabled = false
    byId('events-stop').disabled = true
    say(status, text, kind)
  }
}
