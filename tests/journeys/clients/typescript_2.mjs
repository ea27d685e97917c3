// A day of the official TypeScript client, major 2: `node typescript_2.mjs URL TOKEN legacy|modern` prints the diary as JSON.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { BRIDGE, LOG_LEVEL, ROOTS, answerElicitation, answerSampling, bridge, live } from './day.mjs';

const [url, token, era] = process.argv.slice(2);
const modern = era === 'modern';
const client = new Client(
  { name: 'journey-typescript-2', version: '1.0.0' },
  {
    capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } },
    versionNegotiation: { mode: modern ? { pin: '2026-07-28' } : 'legacy' },
  },
);
const levels = [];
let notice = () => {};

client.setRequestHandler('sampling/createMessage', async ({ params }) => answerSampling(params));
client.setRequestHandler('elicitation/create', async ({ params }) => answerElicitation(params));
client.setRequestHandler('roots/list', async () => ROOTS);
client.setNotificationHandler('notifications/message', ({ params }) => void levels.push(params.level));
client.setNotificationHandler('notifications/resources/updated', ({ params }) => notice(params.uri));

const transport = BRIDGE
  ? new StdioClientTransport(bridge(url, token))
  : new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } });
await client.connect(transport);

const steps = await live({
  client,
  levels,
  call: (name, args, options = {}, meta = undefined) =>
    client.callTool({ name, arguments: args, ...(meta && { _meta: meta }) }, options),
  // Without a cursor this client walks all pages by itself; the raw request gives them one by one.
  page: (params) => client.request({ method: 'resources/list', params }),
  setLevel: async () => (modern ? undefined : client.setLoggingLevel(LOG_LEVEL)),
  logMeta: modern ? { 'io.modelcontextprotocol/logLevel': LOG_LEVEL } : undefined,
  updated: async (uri) => {
    const told = new Promise((resolve) => {
      notice = resolve;
    });
    const subscription = modern ? await client.listen({ resourceSubscriptions: [uri] }) : await client.subscribeResource({ uri });
    const seen = await told;
    await (modern ? subscription.close() : client.unsubscribeResource({ uri }));
    return seen;
  },
});
const protocolVersion = client.getNegotiatedProtocolVersion();
if (!modern && !BRIDGE) await transport.terminateSession();
await client.close();
process.stdout.write(JSON.stringify({ protocolVersion, steps }));
