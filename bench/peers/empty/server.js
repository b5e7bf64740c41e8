// As little as a Node server can be: what starting the runtime itself costs.
import { createServer } from 'node:http'

createServer((_, answer) => answer.end()).listen(Number(process.env.PORT), '127.0.0.1')
