import { defineGateway } from 'nyro-gateway'
import { planHeader, requirePlan, serverTiming } from './policies.ts'

export default defineGateway({
  upstreams: {
    reports: { url: process.env.UPSTREAM_URL ?? 'http://127.0.0.1:9000' },
  },
  // On every route, in this order, before the route's own
  policies: [serverTiming(), planHeader('X-Plan')],
  routes: [
    { path: '/reports/*', upstream: 'reports' },
    { path: '/reports/exports/*', upstream: 'reports', policies: [requirePlan('pro', 'enterprise')] },
  ],
})
