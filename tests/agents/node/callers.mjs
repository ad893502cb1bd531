// The official TypeScript clients. Reads {"sdk", "url", "key", "prefix", "mode"} and prints what they saw.
const asked = JSON.parse(await new Promise((done) => { let t = ""; process.stdin.on("data", (d) => (t += d)).on("end", () => done(t)); }));
const requestInit = { headers: { "x-ag-api-key": asked.key } };
let client, transport;
if (asked.sdk === "v1") {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  client = new Client({ name: "agent", version: "1" });
  transport = new StreamableHTTPClientTransport(new URL(asked.url), { requestInit });
} else {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  client = new Client({ name: "agent", version: "1" });
  transport = new StreamableHTTPClientTransport(new URL(asked.url), { requestInit });
}
await client.connect(transport);
const name = (plain) => asked.prefix + plain;
const progress = [];
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const echoed = await client.callTool({ name: name("echo"), arguments: { message: "hello" } });
const options = { onprogress: (seen) => progress.push(seen.progress) };
const long = { name: name("trigger-long-running-operation"), arguments: { duration: 1, steps: 4 } };
const done = asked.sdk === "v1" ? await client.callTool(long, undefined, options) : await client.callTool(long, options);
const resources = (await client.listResources()).resources.length;
const prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name);
await client.close();
console.log(JSON.stringify({ tools, echoed: echoed.content[0].text, done: done.content[0].text, progress, resources, prompts }));
