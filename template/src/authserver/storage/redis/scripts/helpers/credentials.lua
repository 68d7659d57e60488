-- How credentials change.

-- Store a credential if the one before it has that counter (0: there is none); false if it has another one.
local function put_credential(credential, counter)
  local before = read("credentials", identify("credentials", credential))
  if not exists("users", credential.subject) or tonumber(before and before.counter or 0) ~= counter then
    return false
  end
  credential.counter = counter + 1
  store("credentials", credential)
  return true
end

-- Delete the credential of a kind, or all whose kinds begin so, up to a colon; say how many. With `beside`, only
-- those beside another one whose kind begins so.
local function delete_credentials(subject, kind, beside)
  local deleted, kinds = 0, {}
  for _, id in ipairs(ids_by("credentials", "subject", subject)) do
    kinds[#kinds + 1] = read("credentials", id).kind
  end
  for _, one in ipairs(kinds) do
    local wanted = one == kind or (string.sub(kind, -1) == ":" and string.sub(one, 1, #kind) == kind)
    local others = not beside
    for _, other in ipairs(kinds) do
      others = others or (other ~= one and string.sub(other, 1, #beside) == beside)
    end
    if wanted and others then
      erase("credentials", identify("credentials", { subject = subject, kind = one }))
      deleted = deleted + 1
    end
  end
  return deleted
end
