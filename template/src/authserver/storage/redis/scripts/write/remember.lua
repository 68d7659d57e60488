local fact = row_argument()
if not exists("facts", fact.name) then
  store("facts", fact)
end
return redis.call("HGET", record_key("facts", fact.name), "value")
