local request = read_living("authorization_requests", argument())
return request and flat(request)
