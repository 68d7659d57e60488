local session = living_session(argument())
return session and flat(session)
