// A resource server by others: validates an access token (RFC 9068) from nothing but the address of the resource.
// Prints the claims.

import * as oauth from 'oauth4webapi'

const [resource, token] = process.argv.slice(2)
const insecure = { [oauth.allowInsecureRequests]: true }

const metadata = await oauth.processResourceDiscoveryResponse(
  new URL(resource),
  await oauth.resourceDiscoveryRequest(new URL(resource), insecure),
)
const issuer = new URL(metadata.authorization_servers[0])
const as = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }),
)
const request = new Request(resource, { headers: { authorization: `Bearer ${token}` } })
console.log(JSON.stringify(await oauth.validateJwtAccessToken(as, request, metadata.resource, insecure)))
