local row, beside = row_argument(), argument()
local others = 0
for _, id in ipairs(ids_by("credentials", "subject", row.subject)) do
  local kind = read("credentials", id).kind
  if kind ~= row.kind and string.sub(kind, 1, #beside) == beside then
    others = others + 1
  end
end
if beside ~= "" and others == 0 then
  return false
end
return erase("credentials", identify("credentials", row))
