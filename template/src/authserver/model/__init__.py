"""What the authorization server speaks of: clients, scopes, records, what was issued."""
