import assert from 'node:assert/strict'
import { test } from 'node:test'
import { insertTables } from './marked.ts'

const table = {
  columns: ['', 'CPU'],
  rows: [
    ['gateway', '10.0'],
    ['peer', '200.0'],
  ],
}

const document = (inside: string): string => `before\n<!-- bench:small -->\n${inside}<!-- /bench -->\nafter\n`
const insert = (inside: string, name = 'small'): string =>
  insertTables(document(inside), new Map([[name, table]]))

test('a table takes the place of the old one, and the words around it stay', () => {
  const old = 'Words.\n\n|   | CPU |\n| --- | --: |\n| a | 1 |\n\nMore.\n'
  assert.equal(
    insert(old),
    document(
      'Words.\n\n|         |   CPU |\n| ------- | ----: |\n| gateway |  10.0 |\n| peer    | 200.0 |\n\nMore.\n',
    ),
  )
})

test('names of columns and rows that a document translated are kept', () => {
  const old = '|   | Kosten |\n| --- | --: |\n| gateway, mit Log | 1 |\n| peer, ohne | 2 |\n'
  assert.equal(
    insert(old),
    document(
      '|                  | Kosten |\n| ---------------- | -----: |\n| gateway, mit Log |   10.0 |\n| peer, ohne       |  200.0 |\n',
    ),
  )
})

test('a row never gets the name of another', () => {
  const old = '|   | Kosten |\n| --- | --: |\n| gateway, mit Log | 1 |\n| Nachbar | 2 |\n'
  assert.match(insert(old), /\| gateway \|[\s\S]*\| peer +\|/)
})

test('rows that came or went take their new names', () => {
  assert.match(insert('|   | Kosten |\n| --- | --: |\n| Tor | 1 |\n'), /\| gateway \|/)
})

test('an empty place is filled', () => {
  assert.match(insert(''), /<!-- bench:small -->\n\n?\|.*\n(\|.*\n){3}\n?<!-- \/bench -->/)
})

test('writing twice changes nothing', () => {
  const once = insert('Words.\n\n')
  assert.equal(insertTables(once, new Map([['small', table]])), once)
})

test('a place for another table stays as it is', () => {
  assert.equal(insert('nothing yet\n', 'other'), document('nothing yet\n'))
})
