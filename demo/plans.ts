/** What the companies of the demo have paid for, and what its query service can do. */

/** acme counts four times as much as globex where both wait, and may ask for more. Whoever else signs up has no plan. */
export const plans = {
  companies: { acme: 'business', globex: 'team' },
  plans: {
    business: {
      weight: 4,
      rules: [
        { name: 'second', limit: 1_000, window: 1 },
        { name: 'month', limit: 1_000_000, window: 'month' as const },
      ],
    },
    team: { weight: 1, rules: [{ name: 'second', limit: 300, window: 1, burst: 50 }] },
  },
}

/** Of requests at a time, streams and WebSockets among them. */
export const queryQueue = { concurrency: 40 }
