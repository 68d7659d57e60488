-- One connection for each thread, and each has its own chain: the answer's refresh token is the next to show.
local count, threads = 0, {}

function setup(thread)
  thread:set("number", count)
  count = count + 1
  table.insert(threads, thread)
end
function init()
  local seeds = {}
  for seed in string.gmatch(os.getenv("SEEDS"), "[^,]+") do table.insert(seeds, seed) end
  token, bad = seeds[number + 1], 0
  path, fields = os.getenv("PATH_ASKED"), os.getenv("FIELDS")
end
function request()
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  return wrk.format("POST", path, headers, "grant_type=refresh_token&refresh_token=" .. token .. fields)
end
function response(status, headers, body)
  local following = body:match('"refresh_token"%s*:%s*"([^"]+)"')
  if status == 200 and following and following ~= token then token = following else bad = bad + 1 end
end
function done()
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + thread:get("bad") end
  print("bad: " .. bad)
end
