local grant = read("grants", argument())
return grant ~= nil and revoke(grant)
