// Makes the page of documentation work: says who the node is, makes calls, and shows events as they come.
//
// What the node answers becomes text nodes only, so that nothing which another node sent can act in this page.
"use strict";

const SHOWN_EVENTS = 200;
const ASK_EVERY_MS = 10_000;

const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with a class and what stands in it; text becomes text. */
function make(name, className, ...content) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

// ---- Who this node is ----

let node = null;

const FACTS = [
  ["alias", "name"],
  ["network", "network"],
  ["backend", "Lightning by"],
  ["version", "version"],
  ["blockHeight", "block height"],
  ["synced", "synced"],
  ["spendableSat", "can send, sat"],
  ["receivableSat", "can receive, sat"],
  ["channelSat", "in channels, sat"],
  ["onchainSat", "on chain, sat"],
];

async function askNode() {
  try {
    const health = await fetch("/ready");
    showState((await health.json()).status, health.ok);
    // Before the node is up it would only be told so again.
    if (health.ok || !node) {
      const answer = await fetch("/v1/node");
      if (answer.ok) showNode(await answer.json());
    }
  } catch {
    showState("away", false);
  }
}

function showState(word, good) {
  const state = find("#state");
  state.textContent = word;
  state.className = `state ${good ? "good" : word === "away" ? "bad" : ""}`;
  state.hidden = false;
}

function showNode(answer) {
  const first = !node;
  node = answer;
  const key = make("div", "wide", make("dt", "", "public key"), make("dd", "", make("code", "", node.pubkey)));
  const facts = FACTS.map(([field, label]) => {
    const value = node[field];
    const shown = field === "synced" ? (value ? "yes" : "not yet") : grouped(value, field);
    return make("div", "", make("dt", "", label), make("dd", "", shown || "none"));
  });
  find("#node-facts").replaceChildren(key, ...facts);
  find("#node-facts").hidden = false;
  find("#node-hint").hidden = true;
  document.title = `${node.alias || "IMP node"} – IMP node`;
  if (first) offerPubkeys();
}

/** Digits in groups of three, where they are an amount. */
function grouped(value, field) {
  return field.endsWith("Sat") ? String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f") : String(value);
}

/** Offers the keys of the nodes with which there are channels where a key is asked for. */
async function offerPubkeys() {
  const answer = await fetch("/v1/node/channels");
  if (!answer.ok) return;
  const { channels } = await answer.json();
  for (const pubkey of new Set(channels.map((channel) => channel.pubkey))) {
    const option = make("option");
    option.value = pubkey;
    find("#pubkeys").append(option);
  }
}

// ---- Calls ----

/** What a form asks for: a path with its query, and a body where it is a POST. */
function requestOf(call) {
  let path = call.dataset.path;
  const body = {};
  const query = new URLSearchParams();
  for (const field of all("[name]", call)) {
    if (field.dataset.segment) {
      path = path.replace(field.dataset.segment, encodeURIComponent(field.value || field.placeholder));
    } else if (field.value !== "") {
      body[field.name] = "bool" in field.dataset ? field.value === "true" : field.value;
      query.set(field.name, field.value);
    }
  }
  if (call.dataset.verb === "POST") return { method: "POST", path, body: JSON.stringify(body) };
  return { method: "GET", path: query.size ? `${path}?${query}` : path };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curlOf(call) {
  const { path, body } = requestOf(call);
  const url = location.origin + path;
  const words = ["curl", "stream" in call.dataset ? "-sN" : "-s", /[^\w:/.-]/.test(url) ? quoted(url) : url];
  if (body) words.push("-d", quoted(body));
  return words.join(" ");
}

function setUp(call) {
  const form = find("form", call);
  const [send, copy] = [find("[type=submit]", call), find(".copy", call)];
  const example = find(".curl code", call);
  example.textContent = example.textContent.replace("http://127.0.0.1:8882", location.origin);
  const untouched = example.textContent;
  form.addEventListener("input", () => {
    const given = all("[name]", call).some((field) => field.value !== "");
    example.textContent = given ? curlOf(call) : untouched;
  });
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(example.textContent);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy curl"), 1500);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const missing = all("[data-segment]", call).find((field) => field.value === "");
    if (missing) return missing.focus();
    if ("stream" in call.dataset) return toggleEvents(call, send);
    const request = requestOf(call);
    if (!(await confirmed(call, request))) return;
    send.disabled = true;
    await perform(call, request);
    send.disabled = false;
    askNode();
  });
  // A clipboard is there on loopback, but not where the node is reached by another address.
  copy.hidden = !navigator.clipboard;
  send.disabled = copy.disabled = false;
}

/** Whether a call may be made: one that pays or is the owner's is shown first. */
function confirmed(call, { method, path, body }) {
  const pays = "pays" in call.dataset;
  if (!pays && !("owner" in call.dataset)) return true;
  const dialog = find("#confirm");
  const who = node ? `${node.alias || "this node"} on ${node.network}` : "this node";
  find("#confirm-title").textContent = pays ? `Spend with ${call.id}?` : `Make the owner's call ${call.id}?`;
  find("#confirm-text").textContent = pays
    ? `This call pays, if only fees, with the money of ${who}. It cannot be taken back.`
    : `This call is for the owner of ${who}.`;
  find("#confirm-request").textContent = `${method} ${path}${body ? `\n${pretty(body)}` : ""}`;
  const [yes, no] = [find("#confirm-yes"), find("#confirm-no")];
  yes.textContent = pays ? "Pay" : "Send";
  yes.className = pays ? "danger" : "";
  return new Promise((resolve) => {
    const answer = (given) => () => {
      yes.onclick = no.onclick = dialog.onclose = null;
      if (dialog.open) dialog.close();
      resolve(given);
    };
    yes.onclick = answer(true);
    no.onclick = dialog.onclose = answer(false);
    dialog.showModal();
    no.focus();
  });
}

async function perform(call, { method, path, body }) {
  const result = find(".result", call);
  const begun = performance.now();
  const waited = () => `${Math.round(performance.now() - begun).toLocaleString("en")} ms`;
  result.className = "result";
  result.hidden = false;
  result.replaceChildren(make("p", "status", "waiting for the answer …"));
  try {
    const answer = await fetch(path, { method, body });
    const content = answer.ok && "file" in call.dataset ? offered(answer, await answer.blob()) : said(await answer.text());
    result.classList.toggle("failed", !answer.ok);
    const status = make("p", "status", make("b", "", String(answer.status)), ` ${answer.statusText} after ${waited()}`);
    const id = answer.headers.get("x-request-id");
    if (id) status.append(", request ", make("code", "", id));
    result.replaceChildren(status, content);
  } catch (error) {
    result.classList.add("failed");
    result.replaceChildren(make("p", "status", make("b", "", "no answer"), ` after ${waited()}: ${error.message}`));
  }
}

const said = (text) => make("pre", "", coloured(pretty(text)));

/** A file to be saved. What is in it is not shown: it may be a private key. */
function offered(answer, file) {
  const name = /filename="([\w.-]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? "file";
  const link = make("a", "file", `Save ${name}`);
  link.href = URL.createObjectURL(file);
  link.download = name;
  return make("p", "", link, ` (${file.type}, ${file.size.toLocaleString("en")} bytes)`);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** JSON with its parts in elements of their own. */
function coloured(json) {
  const pieces = document.createDocumentFragment();
  const token = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null|-?\d[\d.eE+-]*)\b/g;
  let end = 0;
  for (const match of json.matchAll(token)) {
    const [whole, text, colon] = match;
    pieces.append(json.slice(end, match.index));
    pieces.append(make("span", colon ? "key" : text ? "text" : "word", text ?? whole), colon ?? "");
    end = match.index + whole.length;
  }
  pieces.append(json.slice(end));
  return pieces;
}

// ---- Events ----

const sockets = new WeakMap();

function toggleEvents(call, button) {
  const open = sockets.get(call);
  if (open) return open.close();
  const result = find(".result", call);
  const status = make("p", "status");
  const list = make("ol", "events");
  const say = (word, more) => status.replaceChildren(make("b", "", word), more);
  result.className = "result";
  result.hidden = false;
  result.replaceChildren(status, list);
  say("connecting", "");
  const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${requestOf(call).path}`);
  sockets.set(call, socket);
  button.textContent = "Stop";
  let taken = 0;
  socket.onopen = () => say("listening", ": what comes shows up here");
  socket.onmessage = ({ data }) => {
    const { result: event, error } = JSON.parse(data);
    if (error) {
      result.classList.add("failed");
      list.prepend(make("li", "", make("pre", "data", pretty(JSON.stringify(error)))));
      return;
    }
    taken += 1;
    list.prepend("serviceType" in event ? eventItem(event) : answerItem(event));
    if (list.children.length > SHOWN_EVENTS) list.lastChild.remove();
    say("listening", `: ${taken} came, the newest first`);
  };
  socket.onclose = ({ code, reason }) => {
    sockets.delete(call);
    button.textContent = "Listen";
    const kept = taken ? `, after ${taken} that came` : "";
    say("ended", ` with ${code}${reason ? `: ${reason}` : ""}${kept}`);
  };
}

function eventItem(event) {
  const meta = make("div", "meta", make("b", "", event.serviceType));
  meta.append(make("span", "", `${event.amount} sat`), make("span", "", new Date().toLocaleTimeString()));
  if (event.cursor) meta.append(make("span", "", `cursor ${event.cursor}`));
  meta.append(make("span", "", "from ", make("code", "", event.fromPubkey)));
  meta.append(make("span", "", "id ", make("code", "", event.id)));
  if (event.replyToId) meta.append(make("span", "", "answers ", make("code", "", event.replyToId)));
  return make("li", "", meta, make("pre", "data", event.data));
}

/** An answer of a stream whose answers are no events. */
function answerItem(answer) {
  return make("li", "", make("pre", "data", pretty(JSON.stringify(answer))));
}

// ---- The page ----

/** Opens the call that the address names. */
function followAddress() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target?.matches(".call")) return;
  target.open = true;
  target.scrollIntoView();
  for (const link of all("nav a")) {
    link.toggleAttribute("aria-current", link.hash === location.hash);
  }
}

all(".call").forEach(setUp);
// On a phone the list of calls would stand before everything else.
const narrow = matchMedia("(max-width: 54rem)");
const foldCalls = () => (find("nav details").open = !narrow.matches);
narrow.addEventListener("change", foldCalls);
foldCalls();
addEventListener("hashchange", followAddress);
// The same link again changes no address.
for (const link of all("nav li li a")) link.addEventListener("click", () => setTimeout(followAddress));
followAddress();
askNode();
setInterval(() => document.hidden || askNode(), ASK_EVERY_MS);
