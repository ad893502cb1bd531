// An upstream that others have written: every provider's format on one port. Prints its address, ends with its input.
import { LLMock } from "@copilotkit/aimock";

const { text, calls, usage } = JSON.parse(process.argv[2]);
const mock = new LLMock({ port: 0, chunkSize: 7 });
const toolCalls = calls.map(([name, args]) => ({ name, arguments: JSON.stringify(args) }));
mock.onMessage("one tool", { toolCalls: toolCalls.slice(0, 1), usage });
mock.onMessage("two tools", { toolCalls, usage });
mock.onMessage(/.*/, { content: text, usage });
await mock.start();
console.log(mock.url);
process.stdin.resume();
process.stdin.on("end", () => mock.stop().then(() => process.exit(0)));
