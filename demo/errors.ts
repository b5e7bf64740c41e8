import { errorsPath } from './error-routes.ts'
import type { FaultyTokens } from './faulty-tokens.ts'

/**
 * Every error that clients of the gateway rely on: a comment and one curl line for each, to paste one by one or to
 * run as a script.
 */
export function errorsText(url: string, tokens: FaultyTokens): string {
  const guarded = `'${url}/api/v1/query/ask?q=Who+may+read+this'`
  const curl = (rest: string) => `curl -i -w '\\n' ${rest}`
  const get = (path: string) => curl(`'${url}${path}'`)
  const as = (token: string) => curl(`-H 'Authorization: Bearer ${token}' ${guarded}`)

  const steps: [what: string, command: string][] = [
    ['no bearer token: 401', curl(guarded)],
    ['bad signature, for ana wrote another company into her token: 401', as(tokens.forged)],
    ['expired an hour ago: 401', as(tokens.expired)],
    ['wrong audience: 401', as(tokens.otherAudience)],
    ['no sub in the token: 401', as(tokens.withoutSub)],
    ['no aud in the token: 401', as(tokens.withoutAud)],
    ['no exp in the token: 401', as(tokens.withoutExp)],
    ['none of the three in the token: 401', as(tokens.withoutAny)],
    ['a token that is none: 401', as('not-a-token')],
    ['not valid before the next hour: 401', as(tokens.notYet)],
    ['no company in the token: 403', as(tokens.withoutCompany)],
    ['an empty company in the token: 403', as(tokens.emptyCompany)],
    ['unknown path: 404', get('/nowhere')],
    ['method not allowed: 405', curl(`-X DELETE '${url}/health'`)],
    ['auth service not configured: 501', get('/demo/auth-not-configured')],
    ['upstream unreachable: 503', get('/demo/unreachable')],
    ['upstream too slow, after one second: 504', get('/demo/slow?ms=10000')],
    ['gateway not ready: 503', get('/demo/not-ready')],
    ['fault in the gateway: 500', get('/demo/fault')],
  ]
  return [
    '# Paste them one by one, or run them all:',
    `# curl -s ${url}${errorsPath} | sh`,
    ...steps.map(([what, command]) => `\n# ${what}\n${command}`),
    '',
  ].join('\n')
}
