revoke_by("client_id", argument())
