// The gateway's work as an Express application, put together as the middlewares' documentation shows it.
import { Agent } from 'node:http'
import express from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import jwt from 'jsonwebtoken'

const app = express()
app.disable('x-powered-by')
app.disable('etag')

app.use((request, response, next) => {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ')
  let claims
  try {
    if (scheme !== 'Bearer') throw new Error('no bearer token')
    claims = jwt.verify(token, process.env.JWT_SECRET, {
      algorithms: ['HS256'],
      audience: 'authenticated',
    })
    if (claims.sub === undefined || claims.exp === undefined) throw new Error('claims are missing')
  } catch (error) {
    response.status(401).json({ detail: error.message })
    return
  }
  const company = claims.app_metadata?.company_id
  if (!company) {
    response.status(403).json({ detail: 'company association is missing in token' })
    return
  }
  delete request.headers['x-user-email']
  request.headers['x-company-id'] = company
  request.headers['x-user-id'] = claims.sub
  if (claims.email) request.headers['x-user-email'] = claims.email
  next()
})

app.use(
  createProxyMiddleware({
    target: process.env.UPSTREAM,
    agent: new Agent({ keepAlive: true, maxSockets: 1024, maxFreeSockets: 256 }),
  }),
)

app.listen(Number(process.env.PORT), '127.0.0.1')
