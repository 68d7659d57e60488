// The TypeScript SDK, v1 or v2: logs in, calls a tool, steps up, refreshes, is revoked.
// Prints each authorization URL; reads the address that the browser ends at; prints `done`.

import { createInterface } from 'node:readline/promises'

const [url, version] = process.argv.slice(2)
const { Client, StreamableHTTPClientTransport } =
  version === 'v1'
    ? {
        ...(await import('@modelcontextprotocol/sdk/client/index.js')),
        ...(await import('@modelcontextprotocol/sdk/client/streamableHttp.js')),
      }
    : await import('@modelcontextprotocol/client')

const check = (right, what) => {
  if (!right) throw new Error(what)
}
const input = createInterface({ input: process.stdin })
const lines = input[Symbol.asyncIterator]()

class Memory {
  redirectUrl = 'http://localhost:1/callback'
  clientMetadata = { client_name: `TypeScript SDK ${version}`, redirect_uris: [this.redirectUrl] }
  clientInformation = () => this.client
  saveClientInformation = (client) => (this.client = client)
  tokens = () => this.saved
  saveTokens = (tokens) => (this.saved = tokens)
  invalidateCredentials = (which) => {
    if (which === 'all' || which === 'tokens') this.saved = undefined
  }
  saveCodeVerifier = (verifier) => (this.verifier = verifier)
  codeVerifier = () => this.verifier
  saveDiscoveryState = (state) => (this.discovered = state)
  discoveryState = () => this.discovered
  redirectToAuthorization = (address) => (this.asked = address.href)
}

const provider = new Memory()
let client, transport

const connect = async () => {
  transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { authProvider: provider })
  client = new Client({ name: 'test', version: '1' })
  await client.connect(transport)
}
const visit = async () => {
  console.log(provider.asked)
  provider.asked = undefined
  const ended = new URL((await lines.next()).value)
  check(ended.searchParams.get('iss') === url, 'iss')
  await transport.finishAuth(version === 'v1' ? ended.searchParams.get('code') : ended.searchParams)
}
const attempt = async (action) => {
  try {
    return await action()
  } catch (error) {
    if (!provider.asked) throw error
    return undefined
  }
}
const call = async (name, args) => (await client.callTool({ name, arguments: args })).content[0]?.text ?? ''

check((await attempt(connect)) === undefined && provider.asked, 'the first connection asks to log in')
await visit()
await connect()
check((await call('list_notes', {})) !== undefined, 'the first tool')

if (version === 'v1') {
  // It refreshes, which widens nothing, tries once more, and gives up. Its user signs in anew, as the app
  // lets them, and ticks on the consent page what was refused: the app asks for no more than before.
  const before = provider.saved
  const failed = await call('add_note', { text: 'Buy milk' }).then(() => '', (error) => error.message)
  check(failed.includes('403') && !provider.asked, 'the second tool is refused')
  check(provider.saved.refresh_token !== before.refresh_token, 'it refreshed after the 403')
  check((await call('list_notes', {})) !== undefined, 'the first tool works on')
  provider.saved = undefined
  check((await attempt(connect)) === undefined && provider.asked, 'the new sign-in')
  check(new URL(provider.asked).searchParams.get('scope') === 'notes:read', 'it asks for what it asked before')
} else {
  check((await attempt(() => call('add_note', { text: 'Buy milk' }))) === undefined, 'the second tool asks for more')
}
await visit()
check(provider.saved.scope.split(' ').includes('notes:write'), 'the answer says what was granted')
await connect()
check((await call('add_note', { text: 'Buy milk' })).includes('owner'), 'the tool names the user')

const wide = provider.saved
provider.saved = { ...wide, access_token: 'mcpat_lost' }
check((await call('add_note', { text: 'More milk' })).includes('owner'), 'the call after a refresh')
check(!provider.asked && provider.saved.refresh_token !== wide.refresh_token, 'it refreshed without a browser')

const metadata = await (await fetch(`${url}/.well-known/oauth-authorization-server`)).json()
const { client_id, client_secret, token_endpoint_auth_method } = provider.client
check(token_endpoint_auth_method === 'client_secret_post', 'the method that was registered')
const revoked = await fetch(metadata.revocation_endpoint, {
  method: 'POST',
  body: new URLSearchParams({ token: provider.saved.refresh_token, client_id, client_secret }),
})
check(revoked.status === 200, 'the revocation')
check((await attempt(() => call('list_notes', {}))) === undefined, 'the revoked token')
check(provider.asked, 'a revoked client must ask to log in again')
console.log('done')
input.close()
await client.close()
