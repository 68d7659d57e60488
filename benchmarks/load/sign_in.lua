-- Strangers sign in, each under another name, with a wrong password: each of these is hashed.
local form, cookie, origin = os.getenv("FORM"), os.getenv("COOKIE"), os.getenv("ORIGIN")
local threads = {}

function setup(thread) table.insert(threads, thread) end
function init() bad, count = 0, 0 end
function request()
  count = count + 1
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded", Cookie = cookie, Origin = origin }
  return wrk.format("POST", "/login", headers, form .. "&password=wrong&username=nobody" .. count)
end
function response(status) if status ~= 401 then bad = bad + 1 end end
function done()
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + thread:get("bad") end
  print("bad: " .. bad)
end
