local subject, known, put, deletions = argument(), row_argument(), row_argument(), {}
for _ = 1, number_argument() do
  deletions[#deletions + 1] = argument()
end
local user = read("users", subject)
local session = known.session and living_session(known.session)
if
  not user
  or (known.epoch and tonumber(known.epoch) ~= epoch_of(user))
  or (known.session and (not session or session.subject ~= subject))
  or (put.kind and not put_credential(put, tonumber(put.counter)))
then
  return nil
end
local deleted = 0
for _, kind in ipairs(deletions) do
  deleted = deleted + delete_credentials(subject, kind, known.beside)
end
if known.beside and deleted == 0 then
  return nil
end
return end_access(user, known.keep == "1" and known.session, known.grants == "1")
