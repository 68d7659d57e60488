return erase("facts", argument())
