import { byId, log, say } from './elements.js'

const status = 'socket-status'
const protocol = 'demo.live'

/** A WebSocket with its credentials in one of the two places that browsers leave for them. */
export function startSocket(access) {
  const form = byId('socket')
  let socket = null

  byId('socket-open').addEventListener('click', async () => {
    byId('socket-open').disabled = true
    say(status, 'Connecting …')
    try {
      listen(await connect(form.elements.way.value))
    } catch (error) {
      say(status, error.message, 'bad')
      enable(false)
    }
  })
  form.addEventListener('submit', event => {
    event.preventDefault()
    const text = form.elements.message.value
    socket.send(text)
    log('messages', `→ ${text}`, 'sent')
  })
  byId('socket-close').addEventListener('click', () => socket?.close(1000, 'done'))

  async function connect(way) {
    const url = new URL('/api/v1/query/live', access.gateway)
    url.protocol = url.protocol.replace('http', 'ws')
    // The gateway takes the token for itself; the service hears of its own subprotocol alone.
    if (way === 'subprotocol') return new WebSocket(url, [`bearer.${await access.token()}`, protocol])
    url.searchParams.set('ticket', await access.ticket())
    return new WebSocket(url, [protocol])
  }

  function listen(opened) {
    socket = opened
    opened.addEventListener('open', () => {
      enable(true)
      say(status, `Open, with the subprotocol ${opened.protocol || 'none'}.`, 'good')
    })
    opened.addEventListener('message', ({ data }) => {
      const { type, company_id: company, text, at } = JSON.parse(data)
      log(
        'messages',
        `← ${type} ${text ?? company ?? new Date(at).toLocaleTimeString()}`,
        type === 'tick' ? 'note' : '',
      )
    })
    opened.addEventListener('close', ({ code, reason }) => {
      enable(false)
      say(status, `Closed with ${code}${reason ? `: ${reason}` : ''}.`, code === 1000 ? '' : 'bad')
    })
  }

  function enable(isOpen) {
    byId('socket-open').disabled = isOpen
    byId('socket-send').disabled = !isOpen
    byId('socket-close').disabled = !isOpen
  }
}
