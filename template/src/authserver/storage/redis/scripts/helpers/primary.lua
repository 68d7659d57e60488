-- What every script that reads begins with. A replica lags behind: what was revoked still lives there. It gives
-- itself away by refusing to delete, even where there is nothing.

local refusal = redis.pcall("DEL", prefix .. "nothing")
if type(refusal) == "table" and refusal.err and string.find(refusal.err, "READONLY", 1, true) then
  return refusal
end
