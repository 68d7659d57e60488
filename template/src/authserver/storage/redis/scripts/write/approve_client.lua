local client = read("clients", argument())
if client then
  client.approved_at = text(now)
  store("clients", client)
end
return client ~= nil
