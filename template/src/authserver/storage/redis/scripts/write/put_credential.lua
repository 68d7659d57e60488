return put_credential(row_argument(), number_argument())
