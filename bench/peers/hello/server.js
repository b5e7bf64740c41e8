// Any question, one answer. The status is that of a refusal, so that whoever counts refusals can count these.
import { createServer } from 'node:http'

createServer((_, answer) => {
  answer.statusCode = 401
  answer.end('hello world')
}).listen(Number(process.env.PORT), '127.0.0.1')
