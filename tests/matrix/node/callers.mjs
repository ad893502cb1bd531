// The npm SDKs with their `.stream()` helpers: reads a list of asks from standard input, prints what each has heard.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const chat = {
  client: (door) => new OpenAI({ baseURL: `${door.url}/v1`, apiKey: door.key, maxRetries: 0, timeout: 15_000 }),
  tool: (tool) => ({ type: "function", function: { name: tool.name, description: tool.description, parameters: tool.schema } }),
  async ask(client, door, { prompt, tools }) {
    const stream = client.chat.completions.stream({
      model: door.model,
      messages: [{ role: "user", content: prompt }],
      stream_options: { include_usage: true },
      ...(tools.length && { tools: tools.map(chat.tool) }),
    });
    const said = await stream.finalChatCompletion();
    const [choice] = said.choices;
    return {
      text: choice.message.content ?? "",
      calls: (choice.message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
      finish: choice.finish_reason,
      usage: [said.usage.prompt_tokens, said.usage.completion_tokens],
    };
  },
};

const responses = {
  client: chat.client,
  tool: (tool) => ({ type: "function", name: tool.name, description: tool.description, parameters: tool.schema, strict: false }),
  async ask(client, door, { prompt, tools }) {
    const stream = client.responses.stream({
      model: door.model,
      input: prompt,
      ...(tools.length && { tools: tools.map(responses.tool) }),
    });
    const said = await stream.finalResponse();
    return {
      text: said.output_text,
      calls: said.output
        .filter((item) => item.type === "function_call")
        .map((item) => [item.name, JSON.parse(item.arguments)]),
      finish: said.status,
      usage: [said.usage.input_tokens, said.usage.output_tokens],
    };
  },
};

const messages = {
  client: (door) => new Anthropic({ baseURL: door.url, apiKey: door.key, maxRetries: 0, timeout: 15_000 }),
  tool: (tool) => ({ name: tool.name, description: tool.description, input_schema: tool.schema }),
  async ask(client, door, { prompt, tools }) {
    const stream = client.messages.stream({
      model: door.model,
      max_tokens: 1024,
      messages: [{ role: "user", content: prompt }],
      ...(tools.length && { tools: tools.map(messages.tool) }),
    });
    const said = await stream.finalMessage();
    return {
      text: said.content.map((block) => (block.type === "text" ? block.text : "")).join(""),
      calls: said.content.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input]),
      finish: said.stop_reason,
      usage: [said.usage.input_tokens + (said.usage.cache_read_input_tokens ?? 0), said.usage.output_tokens],
    };
  },
};

const CALLERS = { openai: chat, openai_responses: responses, anthropic: messages };

async function heard(ask) {
  const caller = CALLERS[ask.caller];
  try {
    return await caller.ask(caller.client(ask.door), ask.door, ask);
  } catch (error) {
    return { error: error.constructor.name, status: error.status ?? 0, message: error.message };
  }
}

let input = "";
for await (const chunk of process.stdin) input += chunk;
const told = [];
for (const ask of JSON.parse(input)) told.push(await heard(ask));
console.log(JSON.stringify(told));
