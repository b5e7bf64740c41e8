import { randomUUID } from 'node:crypto'
import { type Account, emailAddress, userOf } from './accounts.ts'
import { AuthError } from './auth-error.ts'
import {
  type AuthExchange,
  type AuthParts,
  bearerOf,
  challengeOf,
  type Endpoints,
  fieldsOf,
  sessionOf,
  textOf,
} from './auth-parts.ts'
import type { EmailLinks } from './auth-redirects.ts'
import { sendSession } from './auth-token.ts'
import { sendJson } from './json.ts'

const shortestPassword = 8

/** What users do with their own account, and what servers see of all of them. */
export function userEndpoints(parts: AuthParts, links: EmailLinks): Endpoints {
  const { accounts, sessions, issuer, sendConfirmation } = parts
  return {
    '/signup': { POST: signUp },
    '/user': { GET: showUser, PUT: changeUser },
    '/logout': { POST: logout },
    '/admin/users': { GET: listUsers },
  }

  async function signUp({ request, response, query }: AuthExchange): Promise<void> {
    const fields = await fieldsOf(request)
    const email = textOf(fields.email)?.toLowerCase()
    if (email === undefined) {
      throw new AuthError(422, 'anonymous_provider_disabled', 'Anonymous sign-ins are disabled')
    }
    if (!emailAddress.test(email)) {
      throw new AuthError(400, 'validation_failed', 'Unable to validate email address: invalid format')
    }
    const password = goodPassword(fields.password)
    const challenge = challengeOf(fields.code_challenge, fields.code_challenge_method)
    const metadata = metadataOf(fields.data)
    if (accounts.find(email) !== undefined) {
      if (sendConfirmation === null) {
        throw new AuthError(422, 'user_already_exists', 'User already registered')
      }
      // Looks like a new one, so that nobody learns who is registered here.
      sendJson(response, 200, { ...userOf(stranger(email, metadata)), identities: [] })
      return
    }
    const confirmed = sendConfirmation === null
    const account = await accounts.create({ email, password, provider: 'email', confirmed, metadata })
    if (account === null) throw new AuthError(422, 'signup_disabled', 'Signups not allowed for this instance')
    if (sendConfirmation === null) {
      return sendSession(parts, response, sessions.start(account, 'password'))
    }
    sendConfirmation(email, links.confirmation(account, challenge, query.get('redirect_to')))
    sendJson(response, 200, userOf(account))
  }

  async function showUser({ request, response }: AuthExchange): Promise<void> {
    const session = await sessionOf(parts, request)
    sendJson(response, 200, userOf(session.account, session.startedAt.toISOString()))
  }

  async function changeUser({ request, response }: AuthExchange): Promise<void> {
    const { account, startedAt } = await sessionOf(parts, request)
    const fields = await fieldsOf(request)
    if (fields.password !== undefined) {
      const password = goodPassword(fields.password)
      if (await accounts.hasPassword(account, password)) {
        throw new AuthError(422, 'same_password', 'New password should be different from the old password.')
      }
      await accounts.setPassword(account, password)
    }
    account.metadata = { ...account.metadata, ...metadataOf(fields.data) }
    sendJson(response, 200, userOf(account, startedAt.toISOString()))
  }

  async function logout({ request, response, query }: AuthExchange): Promise<void> {
    const scope = query.get('scope') ?? 'global'
    if (scope !== 'local' && scope !== 'others' && scope !== 'global') {
      throw new AuthError(400, 'validation_failed', 'scope must be local, others or global')
    }
    sessions.end(await sessionOf(parts, request), scope)
    response.writeHead(204).end()
  }

  async function listUsers({ request, response }: AuthExchange): Promise<void> {
    if (!(await issuer.isServiceKey(bearerOf(request)))) {
      throw new AuthError(403, 'not_admin', 'User not allowed')
    }
    const users = accounts.all.map(account => userOf(account))
    sendJson(response, 200, { users, aud: 'authenticated' }, { 'X-Total-Count': users.length })
  }
}

function goodPassword(value: unknown): string {
  const password = textOf(value)
  if (password === undefined) {
    throw new AuthError(400, 'validation_failed', 'Signup requires a valid password')
  }
  if (password.length >= shortestPassword) return password
  const message = `Password should be at least ${shortestPassword} characters.`
  throw new AuthError(422, 'weak_password', message, { weak_password: { reasons: ['length'] } })
}

function metadataOf(data: unknown): Record<string, unknown> {
  return typeof data === 'object' && data !== null && !Array.isArray(data) ? { ...data } : {}
}

function stranger(email: string, metadata: Record<string, unknown>): Account {
  return { id: randomUUID(), email, provider: 'email', createdAt: new Date().toISOString(), metadata }
}
