local subject, keep = argument(), argument()
for _, digest in ipairs(ids_by("sessions", "subject", subject)) do
  if digest ~= keep then
    erase("sessions", digest)
  end
end
