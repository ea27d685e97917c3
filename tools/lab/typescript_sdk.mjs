// Driver of the official TypeScript SDK: `node typescript_sdk.mjs 1|2 URL`, the major version and the endpoint.
// The SDK's provider is an interface: what it leaves to the program that has it, is done here as its documents say.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

const [major, url] = process.argv.slice(2);
const sdk =
  major === '1'
    ? {
        ...(await import('@modelcontextprotocol/sdk/client/index.js')),
        ...(await import('@modelcontextprotocol/sdk/client/streamableHttp.js')),
        ...(await import('@modelcontextprotocol/sdk/client/auth.js')),
        ...(await import('@modelcontextprotocol/sdk/client/auth-extensions.js')),
      }
    : await import('@modelcontextprotocol/client');

// As often as the lab allows: a program that goes on for ever would be at fault itself, not the SDK.
const MOST_SIGN_INS = 3;

const arrived = [];
let wake = () => {};
const callback = createServer((request, response) => {
  const asked = new URL(request.url, 'http://127.0.0.1');
  response.end('done\n');
  if (asked.pathname === '/callback') arrived.push(asked.searchParams);
  wake();
});
callback.listen(0, '127.0.0.1');
await once(callback, 'listening');
const redirectUrl = `http://127.0.0.1:${callback.address().port}/callback`;

const { LAB_CLIENT_ID, LAB_CLIENT_SECRET, LAB_CLIENT_DOCUMENT, LAB_ISSUER, LAB_PAUSES = '' } = process.env;
const { LAB_GRANT, LAB_IDENTITY_PROVIDER } = process.env;
const given = { clientId: LAB_CLIENT_ID, clientSecret: LAB_CLIENT_SECRET, expectedIssuer: LAB_ISSUER };
const kept = { client: LAB_CLIENT_ID && { client_id: LAB_CLIENT_ID } };
const asPerson = {
  redirectUrl,
  clientMetadataUrl: LAB_CLIENT_DOCUMENT,
  clientMetadata: {
    client_name: `official TypeScript SDK ${major}`,
    redirect_uris: [redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
  },
  state: () => (kept.state = randomUUID()),
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  invalidateCredentials: (what) => {
    const all = { client: 'client', tokens: 'tokens', verifier: 'verifier' };
    for (const [name, key] of Object.entries(all)) if (what === 'all' || what === name) delete kept[key];
  },
  redirectToAuthorization: (address) => void spawn(process.env.BROWSER, [address.href], { stdio: 'ignore' }),
};

// A person's sign-in at the company's provider, which the SDK leaves to the program. The redirect is read, not followed.
async function idToken() {
  const { authorization_endpoint, token_endpoint } = await (
    await fetch(`${LAB_IDENTITY_PROVIDER}/.well-known/openid-configuration`)
  ).json();
  const asked = { client_id: LAB_CLIENT_ID, redirect_uri: redirectUrl, response_type: 'code', scope: 'openid' };
  const signedIn = await fetch(`${authorization_endpoint}?${new URLSearchParams(asked)}`, { redirect: 'manual' });
  const code = new URL(signedIn.headers.get('location')).searchParams.get('code');
  const form = { client_id: LAB_CLIENT_ID, grant_type: 'authorization_code', code, redirect_uri: redirectUrl };
  return (await (await fetch(token_endpoint, { method: 'POST', body: new URLSearchParams(form) })).json()).id_token;
}

async function assertion({ authorizationServerUrl: audience, resourceUrl: resource, scope, fetchFn }) {
  const asked = { idpUrl: LAB_IDENTITY_PROVIDER, audience, resource, scope, fetchFn, clientId: LAB_CLIENT_ID };
  return (await sdk.discoverAndRequestJwtAuthGrant({ ...asked, idToken: await idToken() })).jwtAuthGrant;
}

function chosen() {
  if (LAB_GRANT === 'client_credentials') return new sdk.ClientCredentialsProvider(given);
  if (LAB_IDENTITY_PROVIDER && sdk.CrossAppAccessProvider) return new sdk.CrossAppAccessProvider({ ...given, assertion });
  return asPerson;
}
const provider = chosen();

async function back() {
  while (!arrived.length) await new Promise((resolve) => (wake = resolve));
  const params = arrived.shift();
  if (params.get('state') !== kept.state) throw new Error('the callback has another state');
  if (!params.get('code')) throw new Error(`the authorization server answered ${params.get('error')}`);
  return params;
}

let client, transport;

// The SDK throws UnauthorizedError once the browser has been opened; the program redeems the code and does it again.
async function authorized(attempt) {
  for (let times = 0; ; times += 1) {
    try {
      return await attempt();
    } catch (fault) {
      const waits = fault instanceof sdk.UnauthorizedError || fault.cause instanceof sdk.UnauthorizedError;
      if (!waits || times === MOST_SIGN_INS - 1) throw fault;
      const params = await back();
      await transport.finishAuth(major === '1' ? params.get('code') : params);
    }
  }
}

async function call(name) {
  const result = await authorized(() => client.callTool({ name, arguments: {} }));
  if (result.isError) throw new Error(`${name} answered ${JSON.stringify(result.content)}`);
}

try {
  await authorized(async () => {
    transport = new sdk.StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
    client = new sdk.Client({ name: 'lab', version: '1.0.0' });
    await client.connect(transport);
  });
  for (const pause of [0, ...LAB_PAUSES.split(',').filter(Boolean).map(Number)]) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
    await authorized(() => client.listTools());
    for (const tool of ['read', 'write', 'ping_back']) await call(tool);
  }
  await client.close();
} catch (fault) {
  console.error(fault);
  process.exit(1);
}
process.exit(0);
