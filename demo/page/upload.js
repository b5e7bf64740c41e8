import { byId, say, seconds } from './elements.js'

const status = 'upload-status'
const randomSize = 50_000_000

/** Uploads by XMLHttpRequest: `fetch` does not tell how much has left. */
export function startUploads(access) {
  const form = byId('upload')
  let running = null

  form.addEventListener('submit', event => {
    event.preventDefault()
    const [file] = form.elements.file.files
    if (file === undefined) say(status, 'Choose a file first.', 'bad')
    else void upload(file, file.name)
  })
  byId('upload-random').addEventListener('click', () => void upload(randomBytes(randomSize), 'random.bin'))
  byId('upload-stop').addEventListener('click', () => running?.abort())

  async function upload(body, name) {
    running?.abort()
    const token = await access.token()
    const request = new XMLHttpRequest()
    const start = performance.now()
    running = request
    progress(0)
    byId('upload-stop').disabled = false
    request.open('POST', `${access.gateway}/api/v1/ingest/documents/${encodeURIComponent(name)}`)
    request.setRequestHeader('Authorization', `Bearer ${token}`)
    request.upload.addEventListener('progress', ({ loaded, total }) => {
      progress(loaded / total)
      say(status, `${megabytes(loaded)} of ${megabytes(total)} MB, ${seconds(start)}`)
    })
    request.addEventListener('load', () => {
      const answer = JSON.parse(request.responseText)
      if (request.status === 201) {
        const hash = answer.sha256.slice(0, 16)
        say(status, `${megabytes(answer.size)} MB arrived in ${seconds(start)}, SHA-256 ${hash}…`, 'good')
      } else {
        say(status, `${request.status}: ${answer.detail}`, 'bad')
      }
    })
    request.addEventListener('error', () => say(status, 'The connection broke.', 'bad'))
    request.addEventListener('abort', () => say(status, 'Stopped.'))
    request.addEventListener('loadend', () => {
      if (running !== request) return
      running = null
      byId('upload-stop').disabled = true
    })
    request.send(body)
  }
}

function progress(value) {
  byId('upload-progress').value = value
}

/** No compression on the way makes these smaller. */
function randomBytes(size) {
  const piece = 65_536
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at += piece) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(at + piece, size)))
  }
  return new Blob([bytes], { type: 'application/octet-stream' })
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1)
}
