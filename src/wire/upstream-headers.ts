import { canonicalName, fieldName } from './fields.ts'
import { fieldLine } from './request-head.ts'

/** Headers that policies add to the upstream request. The client's own of the same name do not pass. */
export class UpstreamHeaders {
  #lines = ''
  #names: Set<string> | null = null

  /**
   * Sends a header upstream in place of whatever the client or an earlier policy set under that name.
   * @throws TypeError on a name or value that would break the message, or a field that the gateway writes itself:
   * framing, connection and forwarding are not a policy's to say
   */
  set(name: string, value: string): void {
    if (fieldName(name).owner !== 'end-to-end') throw new TypeError(`the gateway itself writes ${name}`)
    const line = fieldLine(name, value)
    this.remove(name)
    this.#lines += line
  }

  /** Keeps that header from reaching the upstream, whoever sent it. */
  remove(name: string): void {
    const canonical = canonicalName(name)
    this.#names ??= new Set()
    this.#names.add(canonical)
    if (this.#lines !== '') this.#lines = withoutLines(this.#lines, canonical)
  }

  /** Lines already encoded, of names that the gateway strips from clients on every route. */
  append(lines: string): void {
    this.#lines += lines
  }

  get lines(): string {
    return this.#lines
  }

  /** Canonical names under which nothing of the client's may pass, or null. */
  get names(): ReadonlySet<string> | null {
    return this.#names
  }
}

function withoutLines(lines: string, canonical: string): string {
  return lines
    .split('\r\n')
    .filter(line => canonicalName(line.slice(0, line.indexOf(':'))) !== canonical)
    .join('\r\n')
}
