local client = read("clients", argument())
if client and not client.approved_at then
  client.approved_at = text(now)
  store("clients", client)
end
return client ~= nil
