import { startAnswers } from './answer.js'
import { byId } from './elements.js'
import { startEvents } from './events.js'
import { startRefusals } from './refusal.js'
import { startSession } from './session.js'
import { startSocket } from './socket.js'
import { startUploads } from './upload.js'

const { gateway, key, account } = await (await fetch('settings.json')).json()
byId('here').textContent = location.origin
byId('gateway').textContent = gateway

// For a real project its address stands here, and nothing else changes. Each tab is a user of its own.
const client = globalThis.supabase.createClient(`${gateway}/api/v1`, key, {
  auth: { flowType: 'pkce', storage: sessionStorage, storageKey: 'demo' },
})

/** What every part needs: where the gateway is, and the ways in. */
const access = {
  gateway,
  /** Refreshed by supabase-js before it expires. */
  async token() {
    const { data } = await client.auth.getSession()
    return data.session?.access_token ?? ''
  },
  /** Good for one connection that cannot carry a token. */
  async ticket() {
    const token = await access.token()
    if (token === '') throw new Error('Signed out.')
    const answer = await fetch(`${gateway}/api/v1/tickets`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}` },
    })
    const { ticket, detail } = await answer.json()
    if (!answer.ok) throw new Error(detail)
    return ticket
  },
}

startUploads(access)
startAnswers(access)
startEvents(access)
startSocket(access)
startRefusals(access)
await startSession(client, account)
document.documentElement.dataset.ready = 'true'
