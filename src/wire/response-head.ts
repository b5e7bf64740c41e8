/**
 * The one function that writes heads of answers to clients: framing is the gateway's own, and nothing with a line
 * break in it gets out.
 */

import { STATUS_CODES } from 'node:http'
import { type FieldLines, fieldName, isFieldValue } from './fields.ts'
import { RememberedFields } from './remembered-fields.ts'

/** How the body ends: after so many bytes, with its last chunk, or with the connection; `none`: there is none to end. */
export type ResponseFraming = 'none' | 'chunked' | 'until-close' | number

export interface ResponseStart {
  readonly status: number
  /** End-to-end fields. Connection and framing fields in it do not pass: they are not a policy's to say. */
  readonly fields: FieldLines
  readonly framing: ResponseFraming
  /** Lines written by the gateway itself, each ended by CRLF. */
  readonly ownLines: string
}

/**
 * @returns the head with its empty line, as Latin-1 text
 * @throws TypeError on a status, name or value that no message can carry
 */
export function encodeResponseHead({ status, fields, framing, ownLines }: ResponseStart): string {
  if (status < 200) throw new TypeError(`${status} is no final status`)
  const { lines, dated } = (framing === 'chunked' ? chunkwise : whole).of(fields)
  // RFC 9110 §6.6.1: whoever passes an answer on adds the date that it lacks.
  const date = dated ? '' : dateLine()
  const length = typeof framing === 'number' ? `Content-Length: ${framing}\r\n` : ''
  return `${statusLine(status)}${lines}${date}${length}${ownLines}\r\n`
}

interface Encoded {
  readonly lines: string
  readonly dated: boolean
}

/** The fields as lines, checked. */
const whole = new RememberedFields(fields => encode(fields, false))
const chunkwise = new RememberedFields(fields => encode(fields, true))

function encode(fields: FieldLines, chunked: boolean): Encoded {
  const lines: string[] = []
  let dated = false
  for (let i = 0; i < fields.length; i += 2) {
    const value = fields[i + 1]!
    const name = fieldName(fields[i]!)
    if (!name.isToken || !isFieldValue(value))
      throw new TypeError(`header ${JSON.stringify(fields[i])} is not safe to send`)
    if (name.owner === 'hop' || name.lower === 'content-length') continue
    if (name.lower === 'trailer' && !chunked) continue
    if (name.lower === 'date') dated = true
    lines.push(`${fields[i]}: ${value}\r\n`)
  }
  if (chunked) lines.push('Transfer-Encoding: chunked\r\n')
  return { lines: lines.join(''), dated }
}

/** The head behind which the connection speaks another protocol (RFC 9110 §15.2.2). */
export function encodeUpgradeHead(fields: FieldLines, ownLines: string): string {
  const { lines } = whole.of(fields)
  return `${statusLine(101)}Connection: Upgrade\r\nUpgrade: websocket\r\n${lines}${ownLines}\r\n`
}

/** An answer before the answer (RFC 9110 §15.2). */
export function encodeInformational(status: number, fields: FieldLines): string {
  let text = statusLine(status)
  for (let i = 0; i < fields.length; i += 2) {
    const name = fieldName(fields[i]!)
    if (name.isToken && isFieldValue(fields[i + 1]!) && name.owner === 'end-to-end')
      text += `${fields[i]}: ${fields[i + 1]}\r\n`
  }
  return `${text}\r\n`
}

const statusLines = new Map<number, string>()

function statusLine(status: number): string {
  const known = statusLines.get(status)
  if (known !== undefined) return known
  if (!Number.isInteger(status) || status < 100 || status > 599)
    throw new TypeError(`${status} is not a status to send`)
  const line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`
  statusLines.set(status, line)
  return line
}

let datedAt = 0
let date = ''

/** Formatted once for all answers of a second. */
function dateLine(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== datedAt) {
    datedAt = second
    date = `Date: ${new Date(second * 1000).toUTCString()}\r\n`
  }
  return date
}
