// Shows a request as it arrived: every header line apart, in order, how long its body was and how old its connection is.
function echo(r) {
  r.headersOut['Content-Type'] = 'application/json'
  r.return(
    200,
    JSON.stringify({
      method: r.method,
      target: r.variables.request_uri,
      headers: r.rawHeadersIn,
      bodyBytes: r.requestBuffer ? r.requestBuffer.length : 0,
      requestsOnConnection: Number(r.variables.connection_requests),
    }),
  )
}

// A hundred events of 50 bytes, a millisecond apart, so that each arrives by itself.
function stream(r) {
  r.headersOut['Content-Type'] = 'text/event-stream'
  // The customary word to proxies in between that they must not collect.
  r.headersOut['X-Accel-Buffering'] = 'no'
  r.status = 200
  r.sendHeader()
  let number = 0
  const next = () => {
    if (number === 100) {
      r.finish()
      return
    }
    r.send(`data: ${String(number).padStart(3, '0')} ${'x'.repeat(38)}\n\n`)
    number++
    setTimeout(next, 1)
  }
  next()
}

export default { echo, stream }
