return flat(made_user(row_argument()))
