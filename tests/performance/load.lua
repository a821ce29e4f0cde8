-- For wrk: sends the requests of a file, over and over, and prints what happened as one line of JSON.
-- THINK is the mean time in ms that a connection waits before each request.
local requests, position = {}, 0
local first, thread
local think = tonumber(os.getenv("THINK") or "0")

if think > 0 then
  function delay() return math.random(0, 2 * think) end
end

sent = {} -- number of requests in each clock second; global, since done() reads it with thread:get()

function setup(only)
  thread = only
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local length = file:read("*n")
  while length do
    file:read(1)
    requests[#requests + 1] = file:read(length)
    length = file:read("*n")
  end
  file:close()
  first = os.time()
end

function request()
  position = position % #requests + 1
  local second = os.time() - first + 1
  for missing = #sent + 1, second do sent[missing] = 0 end
  sent[second] = sent[second] + 1
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f, "refused": %d, "broken": %d, '
      .. '"sent": [%s]}',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    table.concat(thread:get("sent"), ", ")
  ))
end
