import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { usageQuery } from './query.ts'
import { usageCsv, usageObject, usageTable } from './report.ts'
import type { UsageQuery, UsageRecord } from './store.ts'

const TODAY = '2026-11-27'
const QUERY = usageQuery({}, TODAY) as UsageQuery
const SUMS = {
  requests: 3,
  errors: 1,
  refused: 0,
  bytesIn: 10,
  bytesOut: 20,
  cost: 0.30000000000000004,
  upstreamSeconds: 1.5,
}

const rowOf = (company: string, route = 'orders'): UsageRecord => ({ day: TODAY, company, route, ...SUMS })

describe('a query', () => {
  test('is about this month up to today, with everything told apart, unless it says otherwise', () => {
    assert.deepEqual(QUERY, {
      from: '2026-11-01',
      to: TODAY,
      company: null,
      route: null,
      by: ['day', 'company', 'route'],
    })
    assert.deepEqual(
      usageQuery({ company: '', route: 'r', from: '2026-01-31', to: '2026-02-01', by: 'company' }, TODAY),
      {
        from: '2026-01-31',
        to: '2026-02-01',
        company: '',
        route: 'r',
        by: ['company'],
      },
    )
  })

  test('begins with the month in which it ends', () => {
    assert.equal((usageQuery({ to: '2026-02-10' }, TODAY) as UsageQuery).from, '2026-02-01')
  })

  for (const [given, wrong] of [
    [{ from: '2026-02-30' }, /^from must be a day/],
    [{ to: 'today' }, /^to must be a day/],
    [{ from: '2026-11-28' }, /^from \(2026-11-28\) comes after to/],
    [{ from: '2000-01-01' }, /^from and to span more than/],
    [{ by: 'month' }, /^by must be/],
    [{ by: 'day,day' }, /^by must be/],
    [{ by: '' }, /^by must be/],
  ] as const) {
    test(`with ${JSON.stringify(given)} is told what is wrong`, () => {
      assert.match(usageQuery(given, TODAY) as string, wrong)
    })
  }
})

describe('CSV', () => {
  const cellOf = (company: string): string => {
    const [, line] = usageCsv([rowOf(company)], QUERY).split(/\r\n(?=2026)/)
    return line!.slice(`${TODAY},`.length, line!.lastIndexOf(',orders,'))
  }

  test('has a line of names, then one for each row, each with its end', () => {
    assert.equal(
      usageCsv([rowOf('acme')], QUERY),
      'day,company,route,requests,errors,refused,bytes_in,bytes_out,cost,upstream_seconds\r\n' +
        '2026-11-27,acme,orders,3,1,0,10,20,0.3,1.5\r\n',
    )
  })

  for (const [company, cell] of [
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['a\r\nb', '"a\r\nb"'],
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"'],
    ['a=1', 'a=1'],
    ['', ''],
  ] as const) {
    test(`writes ${JSON.stringify(company)} so that no spreadsheet runs or splits it`, () => {
      assert.equal(cellOf(company), cell)
    })
  }
})

test('JSON has null where there is no company, and the sum of all rows', () => {
  assert.deepEqual(usageObject([rowOf('acme'), rowOf('')], { ...QUERY, by: ['company'] }, 'UTC'), {
    from: '2026-11-01',
    to: TODAY,
    time_zone: 'UTC',
    rows: ['acme', null].map(company => ({
      company,
      requests: 3,
      errors: 1,
      refused: 0,
      bytes_in: 10,
      bytes_out: 20,
      cost: 0.3,
      upstream_seconds: 1.5,
    })),
    total: {
      requests: 6,
      errors: 2,
      refused: 0,
      bytes_in: 20,
      bytes_out: 40,
      cost: 0.6,
      upstream_seconds: 3,
    },
  })
})

test('a table has its columns in line, the total at its end, and nothing that a terminal obeys', () => {
  const text = usageTable([rowOf('acme', 'or\u001b[2Jders'), rowOf('')], QUERY)
  const [head, first, second, total] = text.split('\n')
  assert.match(
    head!,
    /^DAY +COMPANY +ROUTE +REQUESTS +ERRORS +REFUSED +BYTES IN +BYTES OUT +COST +UPSTREAM SECONDS$/,
  )
  assert.match(first!, /^2026-11-27 +acme +or\?\[2Jders +3 +1 +0 +10 +20 +0\.3 +1\.5$/)
  assert.match(second!, /^2026-11-27 +- +orders/)
  assert.match(total!, /^TOTAL +6 +2 +0 +20 +40 +0\.6 +3$/)
  assert.equal(new Set([head, first, second, total].map(line => line!.length)).size, 1)
})
