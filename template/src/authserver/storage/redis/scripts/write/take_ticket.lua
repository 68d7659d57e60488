local ticket = read_living("tickets", argument())
if not ticket then
  return nil
end
erase("tickets", ticket.digest)
return ticket.value
