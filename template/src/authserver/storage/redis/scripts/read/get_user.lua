local user = user_named(argument())
return user and flat(user)
