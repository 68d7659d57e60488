// oidc-provider, all in memory: registration, introspection, rotating refresh tokens, opaque access tokens.
import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const [port, seeds] = process.argv.slice(2).map(Number);
const secret = "a secret of the resource server";
const resource = "http://127.0.0.1/mcp";
const stored = new Map();
const granted = new Map();

class Memory {
  constructor(kind) { this.kind = kind; }
  async upsert(id, payload) {
    const key = `${this.kind} ${id}`;
    if (payload.grantId) granted.set(payload.grantId, (granted.get(payload.grantId) ?? new Set()).add(key));
    stored.set(key, payload);
  }
  async find(id) { return stored.get(`${this.kind} ${id}`); }
  async findByUid() {}
  async findByUserCode() {}
  async consume(id) { stored.get(`${this.kind} ${id}`).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { stored.delete(`${this.kind} ${id}`); }
  async revokeByGrantId(id) {
    for (const key of granted.get(id) ?? []) stored.delete(key);
    granted.delete(id);
  }
}

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const callback = "http://127.0.0.1:33418/callback";
const resourceServer = { scope: "read", audience: resource, accessTokenTTL: 3600, accessTokenFormat: "opaque" };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: Memory,
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", kid: "1" }] },
  clientDefaults: { id_token_signed_response_alg: "ES256" },
  scopes: ["openid", "offline_access", "read"],
  clients: [
    {
      client_id: "bench", application_type: "native", token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token"], response_types: ["code"], redirect_uris: [callback],
      scope: "openid offline_access read",
    },
    {
      client_id: "rs", client_secret: secret, token_endpoint_auth_method: "client_secret_basic",
      grant_types: [], response_types: [], redirect_uris: [],
    },
  ],
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true, defaultResource: () => resource, useGrantedResource: () => true,
      getResourceServerInfo: () => resourceServer,
    },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: async () => true,
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: { AccessToken: 3600, RefreshToken: 86400, Grant: 86400 },
});

const client = await provider.Client.find("bench");
const refresh = [];
let access;
for (let number = 0; number < seeds; number++) {
  const grant = new provider.Grant({ accountId: "alice", clientId: "bench" });
  grant.addOIDCScope("openid offline_access");
  grant.addResourceScope(resource, "read");
  const common = { accountId: "alice", client, grantId: await grant.save(), gty: "authorization_code" };
  const token = { ...common, scope: "offline_access read", resource, sessionUid: `${number}` };
  refresh.push(await new provider.RefreshToken(token).save());
  if (!access) {
    const issued = new provider.AccessToken({ ...common, scope: "read", sessionUid: "0" });
    issued.resourceServer = new provider.ResourceServer(resource, resourceServer);
    access = await issued.save();
  }
}
provider.on("server_error", (_, error) => console.error(error));
provider.listen(port, "127.0.0.1", () => console.log(JSON.stringify({ client: "bench", secret, access, refresh })));
