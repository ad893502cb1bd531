// Preloaded: servers that would listen on every address listen on loopback alone.
import net from "node:net";
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  const numbered = typeof port === "number" || (typeof port === "string" && /^\d+$/.test(port));
  const named = typeof rest[0] === "string";
  return numbered && !named ? listen.call(this, Number(port), "127.0.0.1", ...rest) : listen.call(this, port, ...rest);
};
