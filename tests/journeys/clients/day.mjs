// The day of a TypeScript client, the same for both majors: every step goes into a diary as {ok: what came} or {error: why}.
// `peer` hides the little in which the two differ:
//   client, modern, onProgress(notify, signal) → call options, call(tool, args, options), updated(uri) → promise, setLevel()

/** The `switchboard` command, if the client is to speak stdio to its `connect`. */
export const BRIDGE = process.env.BRIDGE;
export const bridge = (url, token) => ({ command: BRIDGE, args: ['connect', url, '--token', token] });

export const LOG_LEVEL = 'warning';
const WATCHED = 'test://static/resource/7';
const STEP_TIMEOUT = 60_000;

// What the person at the client types into a form, by the fields that it has.
const GIVEN = { name: 'Alice', check: true, integer: 7, city: 'Oslo', nights: 3 };

export function answerElicitation(params) {
  if (params.mode === 'url') return { action: 'accept' };
  const fields = Object.keys(params.requestedSchema.properties);
  return { action: 'accept', content: Object.fromEntries(Object.entries(GIVEN).filter(([name]) => fields.includes(name))) };
}

export function answerSampling(params) {
  const said = [params.messages[0].content].flat()[0];
  return { role: 'assistant', model: 'parrot-1', content: { type: 'text', text: `You said: ${said.text}` } };
}

export const ROOTS = { roots: [{ uri: 'file:///home/alice/project', name: 'project' }] };

const words = (result) => result.content.filter((block) => block.type === 'text').map((block) => block.text).join(' ');
const kinds = (result) => result.content.map((block) => block.type);

async function refused(attempt) {
  try {
    await attempt;
  } catch (fault) {
    return fault.code;
  }
  return null;
}

async function everyPage(fetch, key) {
  const found = [];
  let cursor;
  let pages = 0;
  do {
    const page = await fetch(cursor === undefined ? {} : { cursor });
    found.push(...page[key]);
    cursor = page.nextCursor;
    pages += 1;
  } while (cursor !== undefined && pages < 50);
  return { found, pages };
}

const STEPS = {
  tools: async ({ client }) => (await everyPage((params) => client.listTools(params), 'tools')).found.map((tool) => tool.name).sort(),
  echo: async ({ call }) => words(await call('echo', { message: 'hello' })),
  add: async ({ call }) => words(await call('add', { a: 2, b: 3 })),
  invalidArguments: async ({ call }) => {
    const result = await call('longRunningOperation', { steps: 'many' });
    return { isError: result.isError, namesTheArgument: words(result).includes('steps') };
  },
  unknownTool: ({ call }) => refused(call('noSuchTool', {})),
  whoami: async ({ call }) => {
    const seen = [];
    for (let turn = 0; turn < 6; turn += 1) seen.push((await call('whoami', {})).structuredContent);
    const all = (key) => [...new Set(seen.map((each) => (each[key] === null ? 'None' : each[key])))].sort();
    return { subject: all('subject'), session: all('session'), worker: all('worker'), state: all('state') };
  },
  progress: async ({ call }) => {
    const seen = [];
    const onprogress = ({ progress, total }) => seen.push([progress, total]);
    const result = await call('longRunningOperation', { duration: 1, steps: 4 }, { onprogress });
    return { seen, isError: Boolean(result.isError) };
  },
  cancellation: async ({ call }) => {
    const controller = new AbortController();
    const options = { onprogress: () => controller.abort('enough'), signal: controller.signal };
    let cancelled = false;
    try {
      await call('longRunningOperation', { duration: 90, steps: 90 }, options);
    } catch {
      cancelled = controller.signal.aborted;
    }
    return { cancelled, after: words(await call('echo', { message: 'still here' })) };
  },
  image: async ({ call }) => kinds(await call('getTinyImage', {})),
  sound: async ({ call }) => kinds(await call('getTinySound', {})),
  annotated: async ({ call }) => {
    const { annotations } = (await call('annotatedMessage', { messageType: 'error', includeImage: true })).content[0];
    return [annotations.priority, [...annotations.audience].sort()];
  },
  embedded: async ({ call }) => kinds(await call('getResourceReference', { resourceId: 4 })),
  links: async ({ call }) => kinds(await call('getResourceLinks', { count: 2 })),
  structured: async ({ call }) => (await call('getStructuredContent', { location: 'Chicago' })).structuredContent,
  header: async ({ call }) => (await call('headerParameter', { region: 'eu-west' })).structuredContent,
  app: async ({ call }) => (await call('mcp_apps_hello_world', {})).structuredContent,
  sampling: async ({ call }) => words(await call('sampleLLM', { prompt: 'good morning' })),
  form: async ({ call }) => words(await call('elicitInputs', {})),
  url: async ({ call }) => (await call('elicitUrl', {})).structuredContent,
  roots: async ({ call }) => (await call('listRoots', {})).structuredContent,
  rounds: async ({ call }) => (await call('multiRoundTrip', {})).structuredContent,
  logs: async ({ call, levels, setLevel, logMeta }) => {
    await setLevel();
    levels.length = 0;
    await call('logEveryLevel', {}, {}, logMeta);
    return [...levels];
  },
  prompts: async ({ client }) => {
    const listed = await client.listPrompts();
    const got = [
      await client.getPrompt({ name: 'simple_prompt' }),
      await client.getPrompt({ name: 'complex_prompt', arguments: { temperature: '0.7', style: 'formal' } }),
      await client.getPrompt({ name: 'resource_prompt', arguments: { resourceId: '2' } }),
    ];
    return {
      names: listed.prompts.map((prompt) => prompt.name).sort(),
      kinds: got.map(({ messages }) => messages.map((message) => message.content.type)),
    };
  },
  completions: async ({ client }) => {
    const ask = async (ref, name, value) => (await client.complete({ ref, argument: { name, value } })).completion.values;
    return {
      style: await ask({ type: 'ref/prompt', name: 'complex_prompt' }, 'style', 'f'),
      id: await ask({ type: 'ref/resource', uri: 'test://static/resource/{id}' }, 'id', '10'),
    };
  },
  resources: async ({ page }) => {
    const { found, pages } = await everyPage(page, 'resources');
    const uris = found.map((resource) => resource.uri);
    return {
      static: uris.filter((uri) => uri.startsWith('test://static/resource/')).length,
      unique: new Set(uris).size === uris.length,
      severalPages: pages > 1,
    };
  },
  templates: async ({ client }) => (await client.listResourceTemplates()).resourceTemplates.map((template) => template.uriTemplate),
  contents: async ({ client }) => {
    const odd = (await client.readResource({ uri: 'test://static/resource/1' })).contents[0];
    const even = (await client.readResource({ uri: 'test://static/resource/2' })).contents[0];
    return [odd.text, 'blob' in even ? 'BlobResourceContents' : '?'];
  },
  unknownResource: ({ client }) => refused(client.readResource({ uri: 'test://static/resource/999' })),
  subscription: ({ updated }) => updated(WATCHED),
};

function within(milliseconds, attempt) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([attempt, late]).finally(() => clearTimeout(timer));
}

export async function live(peer) {
  const steps = {};
  for (const [name, step] of Object.entries(STEPS)) {
    try {
      steps[name] = { ok: await within(STEP_TIMEOUT, step(peer)) };
    } catch (fault) {
      steps[name] = { error: `${fault.name}: ${fault.message}` };
    }
  }
  return steps;
}
