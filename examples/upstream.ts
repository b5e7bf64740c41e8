/** A service to stand behind the examples, which answers with the request as it arrived: `upstream.ts [PORT]` */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import process from 'node:process'

const server = createServer(async (request, response) => {
  let bytes = 0
  for await (const chunk of request) bytes += (chunk as Buffer).length
  const { method, url, headers } = request
  response.setHeader('Content-Type', 'application/json')
  response.end(`${JSON.stringify({ method, url, headers, bytes }, null, 2)}\n`)
})
server.listen(Number(process.argv[2] ?? 9000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
