/** Quotas that a thread has begun to use, told together once in a turn of its loop, each once. */

import type { QuotaBegun } from '../limits/local-store.ts'
import type { QuotaName } from '../usage/quota-keeper.ts'

export function quotaNews(tell: (names: readonly QuotaName[]) => void): QuotaBegun {
  const told = new Map<string, Set<string>>()
  let news: QuotaName[] = []

  return function onQuota(name, period, end) {
    let names = told.get(period)
    if (names === undefined) {
      // Two at a time: a day and a month. Of those that are over nobody speaks any more.
      if (told.size >= 4) told.clear()
      names = new Set()
      told.set(period, names)
    }
    if (names.has(name)) return
    names.add(name)
    if (news.length === 0) {
      setImmediate(() => {
        const all = news
        news = []
        tell(all)
      })
    }
    news.push({ name, period, end })
  }
}
