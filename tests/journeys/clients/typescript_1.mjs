// A day of the official TypeScript client, major 1: `node typescript_1.mjs URL TOKEN legacy` prints the diary as JSON.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { BRIDGE, LOG_LEVEL, ROOTS, answerElicitation, answerSampling, bridge, live } from './day.mjs';

const [url, token] = process.argv.slice(2);
const capabilities = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };
const client = new Client({ name: 'journey-typescript-1', version: '1.0.0' }, { capabilities });
const levels = [];
let notice = () => {};

client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => answerSampling(params));
client.setRequestHandler(ElicitRequestSchema, async ({ params }) => answerElicitation(params));
client.setRequestHandler(ListRootsRequestSchema, async () => ROOTS);
client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void levels.push(params.level));
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => notice(params.uri));

const transport = BRIDGE
  ? new StdioClientTransport(bridge(url, token))
  : new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } });
let protocolVersion;
const told = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => {
  protocolVersion = version;
  told?.(version);
};
await client.connect(transport);

const steps = await live({
  client,
  levels,
  call: (name, args, options = {}) => client.callTool({ name, arguments: args }, undefined, options),
  page: (params) => client.listResources(params),
  setLevel: () => client.setLoggingLevel(LOG_LEVEL),
  updated: async (uri) => {
    const told = new Promise((resolve) => {
      notice = resolve;
    });
    await client.subscribeResource({ uri });
    const seen = await told;
    await client.unsubscribeResource({ uri });
    return seen;
  },
});
if (!BRIDGE) await transport.terminateSession();
await client.close();
process.stdout.write(JSON.stringify({ protocolVersion, steps }));
