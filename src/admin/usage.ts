/** `GET /usage`: who used what, for bills. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { UsageLedger } from '../usage/ledger.ts'
import { type QueryTexts, usageQuery } from '../usage/query.ts'
import { usageCsv, usageObject } from '../usage/report.ts'

const PARAMETERS: ReadonlySet<string> = new Set(['company', 'route', 'from', 'to', 'by', 'format'])

interface UsageReply {
  readonly status: number
  readonly type: string
  readonly text: string
}

export class UsageApi {
  readonly #ledger: UsageLedger | null

  /** @param ledger null: usage is not configured */
  constructor(ledger: UsageLedger | null) {
    this.#ledger = ledger
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    this.#answer(request).then(
      ({ status, type, text }) =>
        response
          .writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
          .end(text),
      () => response.destroy(),
    )
  }

  async #answer(request: IncomingMessage): Promise<UsageReply> {
    const ledger = this.#ledger
    if (ledger === null)
      return problem(404, 'Not Found', 'Usage is not counted: configure usage (GATEWAY_USAGE_FILE).')
    const asked = parametersOf(request)
    if (typeof asked === 'string') return problem(400, 'Bad Request', `${asked}.`)
    const query = usageQuery(asked, ledger.today)
    if (typeof query === 'string') return problem(400, 'Bad Request', `${query}.`)
    const format = asked.format ?? (/\btext\/csv\b/i.test(request.headers.accept ?? '') ? 'csv' : 'json')
    if (format !== 'csv' && format !== 'json')
      return problem(400, 'Bad Request', 'format must be json or csv.')
    // What it says may become a bill: less than was counted would be worse than no answer.
    if (!(await ledger.flush())) return unavailable()
    const rows = await ledger.read(query).catch(() => null)
    if (rows === null) return unavailable()
    if (format === 'csv') return { status: 200, type: 'text/csv; charset=utf-8', text: usageCsv(rows, query) }
    const text = JSON.stringify(usageObject(rows, query, ledger.timeZone))
    return { status: 200, type: 'application/json', text }
  }
}

/** The parameters, each at most once, or what is wrong with them. */
function parametersOf(request: IncomingMessage): (QueryTexts & { readonly format?: string }) | string {
  const { searchParams } = new URL(request.url!, 'http://admin')
  const found: Record<string, string> = {}
  for (const [name, value] of searchParams) {
    if (!PARAMETERS.has(name))
      return `${JSON.stringify(name)} is no parameter: there are ${[...PARAMETERS].join(', ')}`
    if (name in found) return `${name} is given twice`
    found[name] = value
  }
  return found
}

function unavailable(): UsageReply {
  return problem(
    503,
    'Service Unavailable',
    'The store of usage cannot be reached: nothing is lost, ask again later.',
  )
}

function problem(status: number, title: string, detail: string): UsageReply {
  const text = JSON.stringify({ type: 'about:blank', title, status, detail })
  return { status, type: 'application/problem+json', text }
}
