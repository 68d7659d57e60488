return erase_client(argument())
