local digest, grant = argument(), going_on(argument())
return grant and not exists("refresh_tokens", digest) and revoke(grant)
