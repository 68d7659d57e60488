local rows = {}
for _, id in ipairs(ids_by("credentials", "subject", argument())) do
  rows[#rows + 1] = flat(read("credentials", id))
end
return rows
