return erase("credentials", identify("credentials", row_argument()))
