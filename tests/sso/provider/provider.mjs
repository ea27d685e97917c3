// An OpenID provider for tests: anybody may sign in, clients may register, and access tokens are bound to a resource.
// node provider.mjs PORT jwt|opaque RESOURCE
import { generateKeyPairSync } from "node:crypto";
import { Provider } from "oidc-provider";

const [port, format, resource] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { ...privateKey.export({ format: "jwk" }), kid: "one", use: "sig", alg: "RS256" };

const provider = new Provider(`http://localhost:${port}`, {
  jwks: { keys: [key] },
  cookies: { keys: ["for tests only"] },
  scopes: ["openid", "offline_access", "mcp"],
  clients: [
    {
      client_id: "switchboard",
      client_secret: "for tests only",
      redirect_uris: [new URL("/upstream/callback", resource).href],
      grant_types: ["authorization_code", "refresh_token"],
    },
  ],
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  features: {
    registration: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, indicator) => ({
        scope: "mcp",
        audience: indicator,
        accessTokenTTL: 300,
        accessTokenFormat: format,
        jwt: { sign: { alg: "RS256" } },
      }),
      useGrantedResource: () => true,
    },
  },
});

provider.listen(Number(port), "127.0.0.1");
