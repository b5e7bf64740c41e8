// Shows a request as it arrived: every header line apart, in order, and how old its connection is.
function echo(r) {
  r.headersOut['Content-Type'] = 'application/json'
  r.return(
    200,
    JSON.stringify({
      method: r.method,
      target: r.variables.request_uri,
      headers: r.rawHeadersIn,
      requestsOnConnection: Number(r.variables.connection_requests),
    }),
  )
}

export default { echo }
