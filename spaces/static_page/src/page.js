// The static page: asks the models, shows what follows, moves thresholds. router_demo/page.js does copies, keys, files.

import { setUpBatch } from "./many.js";
import { startModels } from "./models.js";
import { countTasks, decide, limitOf, movable, readable, readTasks, REVIEW, sayLanguages, settle } from "./policy.js";
import { escape, line, notes, policyWords, result } from "./parts.js";
import { setUpTabs } from "./tabs.js";
import { counted, grouped, percent, say } from "./texts.js";

const $ = selector => document.querySelector(selector);
const dark = matchMedia("(prefers-color-scheme: dark)");
const light = () => document.documentElement.classList.toggle("dark", dark.matches);
light();
dark.addEventListener("change", light);
const { hub, models: entries } = await (await fetch("models.json")).json();
const tasks = readTasks(entries), box = $("#prompt textarea");
const LABELS = { detection: "block from", spans: "mark from", classification: "answer from" };
let isTold = false; // something that the news of loading must not replace
let stop = null, held = null; // what ends the newest question, and the newest answer

const tell = (words, tone, aloud) => { $("#status").innerHTML = line(words, tone, aloud); };
const limits = () => Object.fromEntries(movable(tasks).map(task => [task.name, settle(task, $(`#limit-${task.name} input`).valueAsNumber)]));

function show() {
  const values = limits();
  for (const task of movable(tasks)) $(`#said-${task.name}`).innerHTML = policyWords(task, values[task.name]);
  for (const task of movable(tasks)) $(`#limit-${task.name} output`).textContent = $(`#limit-${task.name} input`).value;
  if (!held) return null;
  const decision = decide(tasks, held.text, held.reads, values);
  $("#answer").innerHTML = result(hub, tasks, readable(held.text), decision, held.latency);
  return decision;
}

function clear(words, tone) {
  held = null;
  isTold = true;
  $("#answer").innerHTML = "";
  window.routerDemo.done();
  tell(words, tone);
}

const fail = error => clear(say("failed_here", { words: error.message }), "bad");

async function ask() {
  stop?.abort();
  const text = box.value;
  if (!text.trim()) { clear(say("empty"), "warn"); return; }
  const { signal } = stop = new AbortController();
  window.routerDemo.asked(text);
  isTold = false;
  try {
    await models.areLoaded;
    signal.throwIfAborted();
    isTold = true;
    tell(say("reading", { chars: grouped([...text].length) }));
    const { reads, latency } = await models.read(readable(text), signal, (done, of) => tell(say("reading_windows", { done, of })));
    held = { text, reads, latency };
    const decision = show(), took = Object.values(latency).reduce((a, b) => a + b);
    window.routerDemo.done();
    tell(`${counted(Object.keys(reads).length, "answer")} in ${grouped(took)} ms.`, "", decision.headline);
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

function cancel() {
  stop?.abort();
  clear(say("cancelled_here"));
}

function loading(share) {
  const words = say("loading", { share: percent(Math.min(share, 0.999)) });
  if (!isTold) tell(words);
  tellBatch(words);
}

/** Return prompts to click by what their buttons say: those with a title, then the first of tasks without one. */
function examples() {
  const all = Object.values(tasks), named = all.flatMap(task => task.example_titles.map((title, i) => [title, task.examples[i]]));
  const shown = new Set(named.map(([, prompt]) => prompt));
  const others = all.map(task => task.examples[0]).filter(prompt => prompt && !shown.has(prompt));
  const short = prompt => (prompt.length <= 48 ? prompt : `${prompt.slice(0, 45).replace(/ [^ ]*$/, "")} ...`);
  return [...new Map([...named, ...others.map(prompt => [short(prompt), prompt])])].slice(0, 6);
}

async function share() {
  const link = `${location.href.split("#")[0]}#prompt=${encodeURIComponent(box.value)}`;
  history.replaceState(null, "", link);
  try { await navigator.clipboard.writeText(link); } catch { /* the address bar has it */ }
  tell(say("shared"));
}

function fill() {
  document.title = say("title");
  $("h1").textContent = say("heading");
  $("#lead").textContent = say("lead", { asked: countTasks(tasks) });
  $("#notes").innerHTML = notes(tasks);
  $("#fine").innerHTML = `<b>${escape(sayLanguages(tasks))}</b> ${escape(say("kept_here"))}`;
  $("#policy .about").textContent = `${say("policy_about")} Below ${REVIEW} a detection passes, from its threshold on it blocks, between the two somebody has a look.`;
  for (const node of document.querySelectorAll("[data-say]")) node.textContent = say(node.dataset.say);
  box.placeholder = say("placeholder");
  $("#examples").innerHTML = examples().map(([title]) => `<button type='button'>${escape(title)}</button>`).join("");
  $("#sliders").innerHTML = movable(tasks).map(task =>
    `<label id='limit-${task.name}' class='limit'><span>${escape(`${task.title}: ${LABELS[task.head]}`)}</span><output></output>`
    + `<input type='range' min='0' max='1' step='0.001' value='${limitOf(task)}'></label><div id='said-${task.name}' class='prose'></div>`).join("");
}

fill();
show();
tell(say("loading", { share: "0%" }));
$("#ask").addEventListener("click", ask);
$("#cancel").addEventListener("click", cancel);
$("#share").addEventListener("click", share);
$("#sliders").addEventListener("input", show);
$("#reset").addEventListener("click", () => {
  for (const task of movable(tasks)) $(`#limit-${task.name} input`).value = limitOf(task);
  show();
});
$("#examples").addEventListener("click", event => {
  const found = examples().find(([title]) => title === event.target.textContent);
  if (found) { box.value = found[1]; ask(); }
});
const shared = /^#prompt=(.*)/s.exec(location.hash);
try { if (shared) box.value = decodeURIComponent(shared[1]); } catch { /* no link of ours */ }
const models = startModels(hub, tasks, loading), tellBatch = setUpBatch(tasks, models, limits);
models.areLoaded.then(() => { if (!isTold && !stop) tell(say("first")); }, fail);
setUpTabs($("[role=tablist]"));
