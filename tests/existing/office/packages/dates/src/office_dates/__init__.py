DAYS = ("Monday", "Tuesday")
