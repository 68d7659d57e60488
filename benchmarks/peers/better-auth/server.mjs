// better-auth with its OAuth provider, on SQLite as durable as ours: a person signs up, and allows an app again and again.
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import { oauthProvider } from "@better-auth/oauth-provider";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { jwt } from "better-auth/plugins";
import Database from "better-sqlite3";

const [port, seeds] = process.argv.slice(2).map(Number);
const origin = `http://127.0.0.1:${port}`;
const base = `${origin}/api/auth`;
const callback = "http://127.0.0.1:33418/callback";

const database = new Database(process.env.DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
const options = {
  database, baseURL: origin, secret: randomBytes(32).toString("hex"), trustedOrigins: [origin],
  emailAndPassword: { enabled: true }, rateLimit: { enabled: false }, telemetry: { enabled: false },
  logger: { level: "error" },
  plugins: [
    jwt({ disableSettingJwtHeader: true }),
    oauthProvider({
      loginPage: "/login", consentPage: "/consent", scopes: ["openid", "offline_access", "read"],
      allowDynamicClientRegistration: true, allowUnauthenticatedClientRegistration: true,
      refreshTokenReuseInterval: 30, silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true },
    }),
  ],
};
await (await getMigrations(options)).runMigrations();
const server = http.createServer(toNodeHandler(betterAuth(options)));
await new Promise((done) => server.listen(port, "127.0.0.1", done));

const cookies = new Map();
const ask = async (address, { headers = {}, ...rest } = {}) => {
  const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  const answer = await fetch(address, { redirect: "manual", ...rest, headers: { ...headers, cookie, origin } });
  for (const set of answer.headers.getSetCookie()) {
    const [name, ...value] = set.split(";")[0].split("=");
    cookies.set(name, value.join("="));
  }
  return answer;
};
const post = async (path, body) => {
  const headers = { "content-type": "application/json" };
  return (await ask(base + path, { method: "POST", headers, body: JSON.stringify(body) })).json();
};

await post("/sign-up/email", { email: "alice@example.com", password: randomBytes(16).toString("hex"), name: "alice" });
const app = { redirect_uris: [callback], response_types: ["code"], application_type: "native" };
const { client_id: client } = await post("/oauth2/register", {
  ...app, client_name: "bench", token_endpoint_auth_method: "none", scope: "offline_access read",
  grant_types: ["authorization_code", "refresh_token"],
});
const asking = await post("/oauth2/register", {
  ...app, client_name: "rs", token_endpoint_auth_method: "client_secret_basic", grant_types: ["authorization_code"],
});
const refresh = [];
let access;
for (let number = 0; number < seeds; number++) {
  const verifier = randomBytes(32).toString("base64url");
  const asked = new URLSearchParams({
    response_type: "code", client_id: client, redirect_uri: callback, scope: "offline_access read", state: "s",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"), code_challenge_method: "S256",
  });
  const sent = await ask(`${base}/oauth2/authorize?${asked}`);
  let to = sent.headers.get("location") ?? (await sent.json()).url;
  if (to.includes("/consent")) {
    const allowed = await post("/oauth2/consent", { accept: true, oauth_query: new URL(to, origin).search.slice(1) });
    to = allowed.redirect_uri ?? allowed.url ?? allowed.uri;
  }
  const code = new URL(to).searchParams.get("code");
  const fields = { grant_type: "authorization_code", code, client_id: client, redirect_uri: callback, code_verifier: verifier };
  const answer = await fetch(`${base}/oauth2/token`, { method: "POST", body: new URLSearchParams(fields) });
  const tokens = await answer.json();
  refresh.push(tokens.refresh_token);
  access ??= tokens.access_token;
}
console.log(JSON.stringify({ client, access, refresh, rs: asking.client_id, secret: asking.client_secret }));
