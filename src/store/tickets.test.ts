import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MAX_PAYLOAD, Tickets } from './tickets.ts'

const NOW = 1_800_000_000_000
const LATER = NOW + 30_000
/** A thread that died in the middle has its slot until then. */
const LEASE_OVER = NOW + 301_000

const create = (usual = 8, large = 2): Tickets => Tickets.create({ usual, large, now: NOW })

/** Issues until there is no room. */
function fill(tickets: Tickets, payload: string, expiresAt = LATER, now = NOW): string[] {
  const issued: string[] = []
  for (;;) {
    const ticket = tickets.issue(payload, expiresAt, now)
    if (ticket === null) return issued
    issued.push(ticket)
  }
}

const holds = (tickets: Tickets, text: string): boolean => Buffer.from(tickets.buffer).includes(text)

describe('a ticket', () => {
  test('gives back what it was issued for, once', () => {
    const tickets = create()
    const ticket = tickets.issue('a.b.c', LATER, NOW)!
    assert.match(ticket, /^[\w-]{24}$/)
    assert.equal(tickets.redeem(ticket, NOW), 'a.b.c')
    assert.equal(tickets.redeem(ticket, NOW), null)
  })

  test('is seen by whoever attached', () => {
    const tickets = create()
    const other = Tickets.attach(tickets.buffer)
    assert.equal(other.redeem(tickets.issue('one', LATER, NOW)!, NOW), 'one')
    const ticket = other.issue('two', LATER, NOW)!
    assert.equal(tickets.redeem(ticket, NOW), 'two')
    assert.equal(other.redeem(ticket, NOW), null)
  })

  test('carries any payload byte for byte, from none to the longest', () => {
    const tickets = create()
    const longest = Buffer.from(Array.from({ length: MAX_PAYLOAD }, (_, i) => i)).toString('latin1')
    for (const payload of ['', 'x', 'é\r\n\0', longest.slice(0, 2_028), longest.slice(0, 2_029), longest])
      assert.equal(tickets.redeem(tickets.issue(payload, LATER, NOW)!, NOW), payload)
    assert.equal(tickets.issue(`${longest}x`, LATER, NOW), null)
  })

  test('is good until its time is over, to the tenth of a second', () => {
    const tickets = create()
    const [early, late] = [tickets.issue('early', LATER, NOW)!, tickets.issue('late', LATER, NOW)!]
    assert.equal(tickets.redeem(early, LATER - 1), 'early')
    assert.equal(tickets.redeem(late, LATER + 100), null)
    assert.equal(tickets.redeem(late, NOW), null, 'it came back to life')
  })

  test('leaves nothing behind when it was redeemed, or found to have expired', () => {
    const tickets = create()
    const [used, found, replaced] = ['used-up', 'found-expired', 'replaced-later'].map(
      payload => tickets.issue(`${payload}-${'x'.repeat(50)}`, LATER, NOW)!,
    )
    assert.ok(
      holds(tickets, 'used-up') && holds(tickets, 'found-expired') && holds(tickets, 'replaced-later'),
    )
    tickets.redeem(used!, NOW)
    tickets.redeem(found!, LATER + 1_000)
    fill(tickets, 'y', LATER + 60_000, LATER + 1_000)
    for (const trace of ['used-up', 'found-expired', 'replaced-later', 'xx'])
      assert.equal(holds(tickets, trace), false, trace)
    assert.equal(tickets.redeem(replaced!, NOW), null)
  })
})

describe('what is no ticket', () => {
  test('is refused, and the ticket in its place stays good', () => {
    const tickets = create(1, 0)
    const ticket = tickets.issue('mine', LATER, NOW)!
    const flipped = (at: number): string => {
      const bytes = Buffer.from(ticket, 'base64url')
      bytes[at]! ^= 1
      return bytes.toString('base64url')
    }
    for (let at = 0; at < 18; at++) assert.equal(tickets.redeem(flipped(at), NOW), null)
    for (const text of [
      '',
      'x',
      ticket.slice(1),
      `${ticket}A`,
      `${ticket.slice(1)}=`,
      `${ticket.slice(1)}\n`,
    ])
      assert.equal(tickets.redeem(text, NOW), null)
    assert.equal(tickets.redeem('A'.repeat(24), NOW), null)
    assert.equal(tickets.redeem(ticket, NOW), 'mine')
    // An empty slot holds zeros
    assert.equal(tickets.redeem('A'.repeat(24), NOW), null)
  })

  test('is never the ticket that was in the slot before', () => {
    const tickets = create(1, 0)
    const seen = new Set<string>()
    for (let each = 0; each < 1_000; each++) {
      const ticket = tickets.issue(String(each), LATER, NOW)!
      assert.equal(seen.has(ticket), false)
      for (const old of [...seen].slice(-3)) assert.equal(tickets.redeem(old, NOW), null)
      seen.add(ticket)
      assert.equal(tickets.redeem(ticket, NOW), String(each))
    }
  })
})

describe('room', () => {
  test('is there for 16,384 usual tickets and 1,024 of the longest at a time', () => {
    const tickets = Tickets.create({ now: NOW })
    assert.equal(fill(tickets, 'x'.repeat(MAX_PAYLOAD)).length, 1_024)
    const usual = fill(tickets, 'x'.repeat(1_500))
    assert.equal(usual.length, 16_384)
    for (const ticket of usual) assert.equal(tickets.redeem(ticket, NOW)?.length, 1_500)
  })

  test('of large slots is taken by usual tickets, not the other way round', () => {
    const tickets = create(3, 2)
    assert.equal(fill(tickets, 'x').length, 5)
    const other = create(3, 2)
    assert.equal(fill(other, 'x'.repeat(3_000)).length, 2)
  })

  test('comes back when tickets are redeemed and when they expire', () => {
    const tickets = create(4, 0)
    const issued = fill(tickets, 'x')
    assert.equal(issued.length, 4)
    tickets.redeem(issued[2]!, NOW)
    assert.equal(fill(tickets, 'y').length, 1)
    assert.equal(fill(tickets, 'z', LATER, NOW + 29_000).length, 0)
    assert.equal(fill(tickets, 'z', LATER + 60_000, LATER + 100).length, 4)
    for (const ticket of issued) assert.equal(tickets.redeem(ticket, NOW), null)
  })

  test('is taken from the front, so that few pages are ever in use', () => {
    const tickets = create(1_000, 0)
    for (let each = 0; each < 100; each++) tickets.redeem(tickets.issue('payload-of-it', LATER, NOW)!, NOW)
    const kept = tickets.issue('payload-of-it', LATER, NOW)!
    assert.equal(Buffer.from(kept, 'base64url').readUInt16BE(16), 0)
  })

  test('that a thread owned when it died comes back after a while', () => {
    const tickets = create(1, 0)
    const lost = tickets.issue('lost', LATER, NOW)!
    // As another thread would: it takes the slot to redeem, and is gone before it frees it.
    const words = new BigInt64Array(tickets.buffer, 128, 1)
    const until = BigInt(3_000) << 32n
    words[0] = until | (((words[0]! & 0xffffffffn) + 2n) & ~1n)
    assert.equal(tickets.redeem(lost, NOW), null)
    assert.equal(tickets.issue('x', LATER, LATER), null)
    const ticket = tickets.issue('x', LEASE_OVER + 1_000, LEASE_OVER)!
    assert.equal(holds(tickets, 'lost'), false)
    assert.equal(tickets.redeem(ticket, LEASE_OVER), 'x')
  })

  test('is bounded', () => {
    for (const [usual, large] of [
      [0, 0],
      [65_536, 1],
      [-1, 5],
      [Number.NaN, 5],
    ] as const)
      assert.throws(() => Tickets.create({ usual, large }), RangeError)
  })
})

test('a clock that was set back finds room, and tickets good', () => {
  const tickets = create(2, 0)
  const ticket = tickets.issue('x', LATER - 1e9, NOW - 1e9)!
  assert.equal(tickets.redeem(ticket, NOW - 1e9), 'x')
})

test('another buffer is refused', () => {
  assert.throws(() => Tickets.attach(new SharedArrayBuffer(4)), /not a buffer of tickets/)
  assert.throws(() => Tickets.attach(new SharedArrayBuffer(1_024)), /not a buffer of tickets/)
})
