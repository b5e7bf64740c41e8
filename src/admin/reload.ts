/** `POST /reload`: loads the configuration again, as SIGHUP does, and says what came of it. */

import type { IncomingMessage } from 'node:http'
import type { ReloadOutcome } from '../workers/reload.ts'
import { type AdminReply, jsonBody, problem } from './json-body.ts'

/** @param request with any JSON, `{}` will do: a page in a browser cannot send that without asking */
export async function reloadFor(
  request: IncomingMessage,
  reload: () => Promise<ReloadOutcome>,
): Promise<AdminReply> {
  const read = await jsonBody(request)
  if ('status' in read) return read
  const outcome = await reload()
  switch (outcome.kind) {
    case 'reloaded': {
      const { added, changed, removed, upstreams } = outcome.changes
      const { kept, closed } = upstreams
      const body = { added, changed, removed, upstreams_kept: kept, upstreams_closed: closed }
      return { status: 200, body: { ...body, restart_keys: outcome.restartKeys } }
    }
    case 'refused': {
      const refused = problem(
        422,
        'Unprocessable Content',
        'The configuration has problems: the old one stays.',
      )
      return { ...refused, body: { ...refused.body, problems: outcome.problems } }
    }
    case 'stopping':
      return problem(503, 'Service Unavailable', 'The gateway is stopping.')
  }
}
