// A strict independent client through every step: discovery, registration, code, refresh, resource call, revocation.
// Prints the authorization URL; reads the address that the browser ends at; prints `done`.

import { createInterface } from 'node:readline/promises'
import * as oauth from 'oauth4webapi'

const [url, method] = process.argv.slice(2)
const redirectUri = 'http://127.0.0.1:1/callback'
const insecure = { [oauth.allowInsecureRequests]: true }
const check = (right, what) => {
  if (!right) throw new Error(what)
}

const resource = await oauth.processResourceDiscoveryResponse(
  new URL(`${url}/mcp`),
  await oauth.resourceDiscoveryRequest(new URL(`${url}/mcp`), insecure),
)
check(resource.authorization_servers[0] === url, 'the resource names its authorization server')

const issuer = new URL(resource.authorization_servers[0])
const as = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }),
)
check(as.authorization_response_iss_parameter_supported === true, 'iss is promised')

const client = await oauth.processDynamicClientRegistrationResponse(
  await oauth.dynamicClientRegistrationRequest(
    as,
    { redirect_uris: [redirectUri], token_endpoint_auth_method: method, client_name: 'oauth4webapi' },
    insecure,
  ),
)
const authentication = {
  none: () => oauth.None(),
  client_secret_post: () => oauth.ClientSecretPost(client.client_secret),
  client_secret_basic: () => oauth.ClientSecretBasic(client.client_secret),
}[method]()

const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const authorization = new URL(as.authorization_endpoint)
for (const [name, value] of Object.entries({
  client_id: client.client_id,
  redirect_uri: redirectUri,
  response_type: 'code',
  scope: resource.scopes_supported.join(' '),
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
  resource: resource.resource,
}))
  authorization.searchParams.set(name, value)
console.log(authorization.href)

const lines = createInterface({ input: process.stdin })
const ended = new URL((await lines[Symbol.asyncIterator]().next()).value)
lines.close()

const parameters = oauth.validateAuthResponse(as, client, ended, state)
const first = await oauth.processAuthorizationCodeResponse(
  as,
  client,
  await oauth.authorizationCodeGrantRequest(as, client, authentication, parameters, redirectUri, verifier, {
    additionalParameters: { resource: resource.resource },
    ...insecure,
  }),
)
check(first.token_type === 'bearer' && first.expires_in > 0 && first.scope, 'the token response is whole')

const second = await oauth.processRefreshTokenResponse(
  as,
  client,
  await oauth.refreshTokenGrantRequest(as, client, authentication, first.refresh_token, insecure),
)
check(second.refresh_token !== first.refresh_token, 'the refresh token rotates')

const call = (token) =>
  oauth.protectedResourceRequest(
    token,
    'POST',
    new URL(resource.resource),
    new Headers({
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2025-06-18',
    }),
    JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    insecure,
  )
check((await call(second.access_token)).status === 200, 'the access token opens the MCP endpoint')

await oauth.processRevocationResponse(
  await oauth.revocationRequest(as, client, authentication, second.refresh_token, insecure),
)
try {
  await call(second.access_token)
  check(false, 'a revoked token is refused')
} catch (error) {
  if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error
  check(error.status === 401, 'a revoked token is refused with 401')
  check(error.cause[0].parameters.error === 'invalid_token', 'the challenge says invalid_token')
}
console.log('done')
