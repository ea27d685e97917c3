// Driver of VS Code's own code for MCP over HTTP and its authorization: `node vscode.mjs URL`.
//
// What runs is VS Code's, as @codingame/monaco-vscode-api has it from VS Code's source: the extension host's MCP
// connection (discovery, challenges, when it asks again) and its dynamic authentication provider (registration,
// authorization, tokens, refresh). What stands in for the rest of VS Code is here: the main thread between the two, which
// in VS Code keeps providers and asks the person; https://vscode.dev/redirect, which sends the browser on to the address
// in `state`; and the protocol above the connection. The loopback server that VS Code for the desktop tries first is not
// in that package.
import { McpHTTPHandle } from '@codingame/monaco-vscode-api/vscode/vs/workbench/api/common/extHostMcp';
import { ExtHostAuthentication } from '@codingame/monaco-vscode-api/vscode/vs/workbench/api/common/extHostAuthentication';
import { CancellationToken } from '@codingame/monaco-vscode-api/vscode/vs/base/common/cancellation';
import { fetchAuthorizationServerMetadata } from '@codingame/monaco-vscode-api/vscode/vs/base/common/oauth';
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri';
import product from '@codingame/monaco-vscode-api/vscode/vs/platform/product/common/product';

const [url] = process.argv.slice(2);
const { LAB_CLIENT_ID, LAB_CLIENT_SECRET, LAB_CLIENT_DOCUMENT, LAB_IDENTITY_PROVIDER, LAB_PAUSES = '' } = process.env;
const CANCELLED_AFTER_MS = 5_000;
const ANSWERED_WITHIN_MS = 40_000;

const write = (...words) => console.error(...words.map(String));
const log = { getLevel: () => 2, trace() {}, debug() {}, info: write, warn: write, error: write, dispose() {} };

// The browser, the page at vscode.dev, and the handler of vscode: addresses.
let waiting;
const back = (expected) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('nothing came back, and the person cancelled')), CANCELLED_AFTER_MS);
    waiting = { expected: URI.revive(expected).toString(), resolve, timer };
  });

async function openUri(address) {
  const answer = await fetch(address, { redirect: 'manual' });
  const location = answer.headers.get('location');
  if (!location) return true;
  const params = new URL(location).searchParams;
  if (params.get('state') !== waiting.expected) return true;
  clearTimeout(waiting.timer);
  const uri = URI.parse(waiting.expected);
  waiting.resolve(uri.with({ query: `${uri.query}&${params}` }));
  return true;
}

// The main thread: one provider for an authorization server and a resource, until it is made anew.
const mainThread = {
  $waitForUriHandler: back,
  $promptForClientRegistration: async () => undefined,
  $showContinueNotification: async () => false,
  $registerDynamicAuthenticationProvider: async () => {},
  $setSessionsForDynamicAuthProvider: async () => {},
  $sendDidChangeSessions: async () => {},
  $sendDidChangeDynamicProviderInfo: async () => {},
};
const authentication = new ExtHostAuthentication(
  { getProxy: () => mainThread },
  { environment: { appName: product.nameLong, appUriScheme: 'vscode' } },
  { openUri },
  { createAppUri: async (uri) => uri },
  { withProgressFromSource: (_source, _options, task) => task({ report() {} }, CancellationToken.None) },
  { createLogger: () => log },
  log,
);
const providers = new Map();

// Where the settings name a company's provider (enterprise-managed), VS Code has a provider for that.
async function companyToken({ authorizationServer, resourceMetadata, scopes }) {
  const key = LAB_IDENTITY_PROVIDER;
  if (!providers.has(key)) {
    const { metadata } = await fetchAuthorizationServerMetadata(key);
    const made = [URI.parse(key), metadata, LAB_CLIENT_ID, LAB_CLIENT_SECRET, []];
    providers.set(key, await authentication.$registerXaaAuthProvider(...made));
  }
  const options = () => ({
    audience: URI.revive(authorizationServer).toString(true),
    resource: resourceMetadata.resource,
    clientId: LAB_CLIENT_ID,
    clientSecret: LAB_CLIENT_SECRET,
  });
  const wanted = scopes ?? resourceMetadata.scopes_supported ?? [];
  const sessions = await authentication.$getSessions(providers.get(key), wanted, options());
  return (sessions[0] ?? (await authentication.$createSession(providers.get(key), wanted, options()))).accessToken;
}

async function token(details, forceNew) {
  if (details.enterpriseManaged) return companyToken(details);
  const key = `${URI.revive(details.authorizationServer)} ${details.resourceMetadata?.resource}`;
  const known = details.resourceMetadata?.scopes_supported ?? details.authorizationServerMetadata.scopes_supported ?? [];
  const scopes = details.scopes ?? known;
  if (forceNew && providers.has(key)) {
    await authentication.$onDidUnregisterAuthenticationProvider(providers.get(key));
    providers.delete(key);
  }
  if (!providers.has(key)) {
    const { authorizationServer, authorizationServerMetadata: metadata, resourceMetadata } = details;
    const clientId = details.clientId ?? (metadata.client_id_metadata_document_supported ? LAB_CLIENT_DOCUMENT : undefined);
    const made = [authorizationServer, metadata, resourceMetadata, clientId, undefined, []];
    providers.set(key, await authentication.$registerDynamicAuthProvider(...made));
  }
  const options = () => ({ authorizationServer: details.authorizationServer });
  const sessions = await authentication.$getSessions(providers.get(key), scopes, options());
  return (sessions[0] ?? (await authentication.$createSession(providers.get(key), scopes, options()))).accessToken;
}

// The protocol: requests by id, and an error of the connection for all of them.
const open = new Map();
const connection = {
  $onDidChangeState(_id, update) {
    if (update.message) for (const each of open.values()) each.reject(new Error(update.message));
  },
  $onDidReceiveMessage(_id, text) {
    if (!text) return; // an event that only has an id
    const message = JSON.parse(text);
    const asked = open.get(message.id);
    open.delete(message.id);
    if (message.error) asked?.reject(new Error(message.error.message));
    else asked?.resolve(message.result);
  },
  $onDidPublishLog: (_id, _level, text) => write(text),
  $logMcpAuthSetup() {},
  $getTokenFromServerMetadata: (_id, details, { forceNewRegistration } = {}) => token(details, forceNewRegistration),
};
const oauth = LAB_CLIENT_ID && { clientId: LAB_CLIENT_ID, enterpriseManaged: Boolean(LAB_IDENTITY_PROVIDER) };
const launch = { uri: URI.parse(url), headers: [], oauth };
const handle = new McpHTTPHandle(1, launch, connection, log, false);

let number = 0;
function ask(method, params = {}) {
  const id = (number += 1);
  const answer = new Promise((resolve, reject) => {
    open.set(id, { resolve, reject });
    setTimeout(reject, ANSWERED_WITHIN_MS, new Error(`${method} is not answered`));
  });
  return Promise.all([answer, handle.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))]).then(([first]) => first);
}

try {
  const clientInfo = { name: product.nameLong, version: product.version };
  await ask('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo });
  await handle.send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }));
  for (const pause of [0, ...LAB_PAUSES.split(',').filter(Boolean).map(Number)]) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
    await ask('tools/list');
    for (const name of ['read', 'write', 'ping_back']) {
      const result = await ask('tools/call', { name, arguments: {} });
      if (result.isError) throw new Error(`${name} answered ${JSON.stringify(result.content)}`);
    }
  }
} catch (fault) {
  console.error(fault);
  process.exit(1);
}
process.exit(0);
