local request = take_request(argument())
return request and flat(request)
