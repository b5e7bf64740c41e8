// The upstream of the transfer scenario, a process of its own. GET sends the content, POST receives it and answers
// what arrived; the query says how much and in which manner.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { content, type Manner, receive } from './content.ts'

createServer((question, answer) => {
  serve(question, answer).catch(error => answer.destroy(error))
}).listen(Number(process.env.PORT), '127.0.0.1')

async function serve(question: IncomingMessage, answer: ServerResponse): Promise<void> {
  const query = new URL(question.url ?? '/', 'http://upstream').searchParams
  const bytes = Number(query.get('bytes'))
  const manner: Manner = {
    speed: query.get('speed') === 'slow' ? 'slow' : 'fast',
    stall: query.get('stall') === 'true',
  }
  if (question.method === 'GET') {
    answer.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes })
    await pipeline(content(bytes, manner), answer)
    return
  }
  const received = JSON.stringify(await receive(question, bytes, manner))
  answer.writeHead(200, { 'content-type': 'application/json', 'content-length': received.length })
  answer.end(received)
}
