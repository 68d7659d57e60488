-- The scopes of each grant of the user to the same client, redirect URI and resource that is remembered.
local subject, wanted = argument(), row_argument()
local rows = {}
for _, id in ipairs(ids_by("grants", "subject", subject)) do
  local grant = living_grant(id)
  local same = grant ~= nil
  for column, value in pairs(wanted) do
    same = same and grant[column] == value
  end
  if same and tonumber(grant.remembered_until) > now then
    rows[#rows + 1] = flat({ scopes = grant.scopes })
  end
end
return rows
