-- Asks the same again and again; an answer without EXPECTS is a bad one.
wrk.method = os.getenv("METHOD")
wrk.body = os.getenv("BODY")
for name, value in string.gmatch(os.getenv("HEADERS"), "([^:\n]+): ([^\n]+)") do wrk.headers[name] = value end
local expects = os.getenv("EXPECTS")
local threads = {}

function setup(thread) table.insert(threads, thread) end
function init() bad = 0 end
function response(status, headers, body)
  if status >= 300 or not body:find(expects, 1, true) then bad = bad + 1 end
end
function done()
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + thread:get("bad") end
  print("bad: " .. bad)
end
