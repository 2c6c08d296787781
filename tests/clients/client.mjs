// What a program in Node does with nothing but what Node has: fetch, WebSocket, and the HTTP stream.
//
//     node client.mjs SENDER RECIPIENT PUBKEY TEXT     the first two are host:port of a node's HTTP
//
// Prints one JSON object with what it saw.

const [sender, recipient, pubkey, text] = process.argv.slice(2);

async function post(path, body) {
  const response = await fetch(`http://${sender}${path}`, { method: "POST", body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

// The websocket, whose first event is the one that is waited for here: others may come before it.
const socket = new WebSocket(`ws://${recipient}/v1/subscribe`);
const frame = new Promise((resolve, reject) => {
  socket.addEventListener("error", () => reject(new Error("the websocket failed")));
  socket.addEventListener("message", ({ data }) => {
    const event = JSON.parse(data).result;
    if (event.data === text) resolve(event);
  });
});
await new Promise((resolve) => socket.addEventListener("open", resolve));
socket.send("something");

// The same events as lines of a response that does not end.
const stop = new AbortController();
const stream = await fetch(`http://${recipient}/v1/subscribe`, { signal: stop.signal });
const line = (async () => {
  let rest = "";
  for await (const chunk of stream.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    const found = lines.map((one) => JSON.parse(one).result).find((event) => event.data === text);
    if (found) return found;
  }
})();

const sent = await post("/v1/message/send", { msg: text, pubkey, amount: "3" });
const seen = { sent, frame: await frame, line: await line };
seen.refused = await post("/v1/message/send", { msg: text, pubkey: "nonsense" });

stop.abort();
const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
socket.close(1000);
seen.closeCode = (await closed).code;
console.log(JSON.stringify(seen));
