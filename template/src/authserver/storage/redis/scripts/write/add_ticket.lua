local ticket, lifetime_seconds = row_argument(), number_argument()
ticket.expires_at = text(now + lifetime_seconds)
store("tickets", ticket)
