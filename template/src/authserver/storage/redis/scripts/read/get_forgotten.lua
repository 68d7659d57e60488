local grant = going_on(argument())
return grant and flat(grant) or nil
