// The gateway's small scenario as a Fastify application: the documented use of its plugins.
import proxy from '@fastify/http-proxy'
import jwt from '@fastify/jwt'
import fastify from 'fastify'

const app = fastify({ bodyLimit: Number.MAX_SAFE_INTEGER, logger: process.env.LOG === 'on' })

await app.register(jwt, {
  secret: process.env.JWT_SECRET,
  verify: { algorithms: ['HS256'], allowedAud: 'authenticated', requiredClaims: ['sub', 'exp', 'aud'] },
})

await app.register(proxy, {
  upstream: process.env.UPSTREAM,
  preHandler: async (request, reply) => {
    await request.jwtVerify()
    if (!request.user.app_metadata?.company_id) {
      await reply.code(403).send({ detail: 'company association is missing in token' })
    }
  },
  replyOptions: {
    rewriteRequestHeaders: (request, headers) => {
      const { 'x-user-email': _, ...rest } = headers
      const { sub, email, app_metadata } = request.user
      const identity = { 'x-company-id': app_metadata.company_id, 'x-user-id': sub }
      return email ? { ...rest, ...identity, 'x-user-email': email } : { ...rest, ...identity }
    },
  },
})

await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
