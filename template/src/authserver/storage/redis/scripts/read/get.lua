-- A record of a table, by its id.
local row = read(argument(), argument())
return row and flat(row)
