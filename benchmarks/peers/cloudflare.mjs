// @cloudflare/workers-oauth-provider under Node: its key-value store in memory, a bridge from node:http.
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import { register } from "node:module";

const stub = "data:text/javascript,export class WorkerEntrypoint {}";
const hooks = `export async function resolve(name, context, next) {
  return name === "cloudflare:workers" ? { url: ${JSON.stringify(stub)}, shortCircuit: true } : next(name, context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
const { OAuthProvider } = await import("@cloudflare/workers-oauth-provider");

const [port, seeds] = process.argv.slice(2).map(Number);
const origin = `http://127.0.0.1:${port}`;
const callback = "http://127.0.0.1:33418/callback";

class Memory {
  values = new Map();
  async get(key, options) {
    const found = this.values.get(key);
    if (!found) return null;
    const type = typeof options === "string" ? options : options?.type;
    return type === "json" ? JSON.parse(found.value) : found.value;
  }
  async put(key, value, options = {}) { this.values.set(key, { value, metadata: options.metadata }); }
  async delete(key) { this.values.delete(key); }
  async getWithMetadata(key, options) {
    return { value: await this.get(key, options), metadata: this.values.get(key)?.metadata ?? null };
  }
  async list({ prefix = "" } = {}) {
    const names = [...this.values.keys()].filter((name) => name.startsWith(prefix));
    return { keys: names.map((name) => ({ name, metadata: this.values.get(name).metadata })), list_complete: true };
  }
}

const environment = { OAUTH_KV: new Memory() };
const provider = new OAuthProvider({
  apiRoute: "/mcp",
  apiHandler: { fetch: (_, __, context) => Response.json({ user: context.props.userId }) },
  defaultHandler: {
    async fetch(request) {
      const oauth = environment.OAUTH_PROVIDER;
      const asked = await oauth.parseAuthRequest(request);
      const user = randomBytes(8).toString("hex"); // each their own: grants are found by user
      const done = await oauth.completeAuthorization({
        request: asked, userId: user, metadata: {}, scope: asked.scope, props: { userId: user },
      });
      return Response.redirect(done.redirectTo, 302);
    },
  },
  authorizeEndpoint: "/authorize",
  tokenEndpoint: "/token",
  clientRegistrationEndpoint: "/register",
  scopesSupported: ["read", "offline_access"],
  resourceMetadata: { resource: `${origin}/mcp` },
  requiredScopes: ["read"],
});

const context = { waitUntil() {}, passThroughOnException() {}, props: {} };
const ask = (path, options) => provider.fetch(new Request(origin + path, { redirect: "manual", ...options }), environment, context);

const metadata = {
  redirect_uris: [callback], token_endpoint_auth_method: "none",
  grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
};
const json = { "Content-Type": "application/json" };
const registered = await ask("/register", { method: "POST", headers: json, body: JSON.stringify(metadata) });
const { client_id: client } = await registered.json();
const refresh = [];
for (let number = 0; number < seeds; number++) {
  const verifier = randomBytes(32).toString("base64url");
  const challenge = createHash("sha256").update(verifier).digest("base64url");
  const asked = new URLSearchParams({
    response_type: "code", client_id: client, redirect_uri: callback, scope: "read offline_access", state: "s",
    code_challenge: challenge, code_challenge_method: "S256",
  });
  const sent = await ask(`/authorize?${asked}`);
  const code = new URL(sent.headers.get("location")).searchParams.get("code");
  const fields = { grant_type: "authorization_code", code, client_id: client, redirect_uri: callback, code_verifier: verifier };
  const answer = await ask("/token", { method: "POST", body: new URLSearchParams(fields) });
  refresh.push((await answer.json()).refresh_token);
}

http
  .createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = parts.length ? Buffer.concat(parts) : undefined;
    const answer = await ask(request.url, { method: request.method, headers: request.headers, body });
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(Buffer.from(await answer.arrayBuffer()));
  })
  .listen(port, "127.0.0.1", () => console.log(JSON.stringify({ client, refresh })));
