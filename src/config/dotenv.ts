import { parseEnv } from 'node:util'

/** `NAME=value` with a value in no quotes, up to a comment. */
const UNQUOTED = /^(\s*(?:export\s+)?[\w.-]+\s*=[ \t]*)([^'"`\s#][^\r\n]*)$/gm

/**
 * Reads `.env` as the first gateway did: a `#` begins a comment only behind white space, where `util.parseEnv` would
 * cut `p4ss#word` short, and a secret with it.
 */
export function parseDotenv(text: string): Readonly<Record<string, string | undefined>> {
  const quoted = text.replace(UNQUOTED, (line, start: string, rest: string) => {
    const value = rest.replace(/\s+#.*$/, '').trimEnd()
    const quote = ["'", '"', '`'].find(mark => !value.includes(mark))
    return value.includes('#') && quote !== undefined ? start + quote + value + quote : line
  })
  return parseEnv(quoted)
}
