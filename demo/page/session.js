import { byId, say } from './elements.js'

const status = 'session-status'

/** Signing in, up and out; what needs a session is enabled while there is one. */
export async function startSession(client, account) {
  const form = byId('signed-out')
  form.elements.email.value = account.email
  form.elements.password.value = account.password

  form.addEventListener('submit', async event => {
    event.preventDefault()
    const credentials = { email: form.elements.email.value, password: form.elements.password.value }
    const signUp = event.submitter?.value === 'up'
    say(status, signUp ? 'Signing up …' : 'Signing in …')
    const { error } = signUp
      ? await client.auth.signUp(credentials)
      : await client.auth.signInWithPassword(credentials)
    if (error === null) say(status, signUp ? 'Signed up, in a company of your own.' : 'Signed in.', 'good')
    else say(status, error.message, 'bad')
  })

  byId('by-provider').addEventListener('click', async () => {
    const { error } = await client.auth.signInWithOAuth({
      provider: 'custom:demo',
      options: { redirectTo: location.origin + location.pathname },
    })
    if (error !== null) say(status, error.message, 'bad')
  })

  for (const button of document.querySelectorAll('[data-scope]')) {
    button.addEventListener('click', async () => {
      say(status, 'Signing out …')
      const { error } = await client.auth.signOut({ scope: button.dataset.scope })
      if (error === null) say(status, 'Signed out: the access token opens nothing any more.', 'good')
      else say(status, error.message, 'bad')
    })
  }

  client.auth.onAuthStateChange((_event, session) => show(session))
  await recover(client)
}

/** A session of an earlier run of the demo is signed by a key that is gone. */
async function recover(client) {
  const { data } = await client.auth.getSession()
  if (data.session === null) {
    const refused = new URLSearchParams(location.search).get('error_description')
    return say(status, refused ?? 'Signed out.', refused === null ? '' : 'bad')
  }
  const { error } = await client.auth.getUser()
  if (error === null) return say(status, 'Signed in.', 'good')
  await client.auth.signOut({ scope: 'local' })
  say(status, 'Signed out: the demo was started anew.')
}

function show(session) {
  const signedIn = session !== null
  const hadFocus = byId(signedIn ? 'signed-out' : 'signed-in').contains(document.activeElement)
  byId('signed-out').hidden = signedIn
  byId('signed-in').hidden = !signedIn
  for (const part of document.querySelectorAll('[data-needs-session]')) part.disabled = !signedIn
  if (signedIn) {
    byId('user').textContent = session.user.email
    byId('company').textContent = session.user.app_metadata.company_id ?? 'none'
    byId('until').textContent = new Date(session.expires_at * 1000).toLocaleTimeString()
  }
  // What had the focus is gone: whoever goes by keyboard goes on where it was.
  if (hadFocus)
    byId(signedIn ? 'signed-in' : 'signed-out')
      .querySelector('button, input')
      .focus()
}
