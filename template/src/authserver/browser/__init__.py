"""What people see, whatever login was chosen: consent, account, cookies, errors."""
