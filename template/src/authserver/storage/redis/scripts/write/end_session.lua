erase("sessions", argument())
