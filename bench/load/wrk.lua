-- Asks one question, judges every answer and prints one JSON line at the end, so that nothing has to be read
-- out of prose. Arguments after "--": method, bytes of the request's body, expected status, and then either
-- "body" with the body that every answer must carry, "bytes" with its length, or "any".

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  wrk.method = args[1]
  local size = tonumber(args[2])
  if size > 0 then wrk.body = string.rep('0123456789abcdef', math.ceil(size / 16)):sub(1, size) end
  expected_status = tonumber(args[3])
  kind = args[4]
  expected = kind == 'bytes' and tonumber(args[5]) or args[5]
  wrong = 0
  question = wrk.format()
end

function request()
  return question
end

function response(status, _, body)
  local right = status == expected_status
  if kind == 'body' then
    right = right and body == expected
  elseif kind == 'bytes' then
    right = right and #body == expected
  end
  if not right then wrong = wrong + 1 end
end

function done(summary, latency)
  local wrong = 0
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get('wrong')
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"wrong":%d,"socketErrors":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, wrong,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
