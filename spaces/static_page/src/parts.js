// The parts of the page as markup: parts.py in JavaScript. All that a visitor, a model or models.json said is escaped.

import { codePoint, isInvisible } from "./languages.js";
import { findPoint, limitOf, placeTogether, sayThreshold } from "./policy.js";
import { compared, counted, grouped, listed, number, plain, say, short } from "./texts.js";

const PALETTE = "#3f6fd1 #167d74 #9a650c #c03a4e #7a4fc0 #2f7d2f #b0327f #0f6f9c #a3491a #5f6b16 #586574 #8a4a6b".split(" ");
export const TONES = { block: "bad", review: "warn", mask: "known", pass: "good" };
const ESCAPED = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" };

export const escape = words => words.replace(/[&<>"']/g, char => ESCAPED[char]);

/** Return a colour for each type of a model's spans; beyond the palette they begin anew. */
function colors(task) {
  const kinds = new Set(task.graph.labels.filter(label => label !== "O").map(label => label.split("-").slice(1).join("-") || label));
  return new Map([...kinds].map((kind, place) => [kind, PALETTE[place % PALETTE.length]]));
}

/** Return the one line that says what goes on; a screen reader reads `aloud` as well, which stands large below it. */
export function line(words, tone = "", aloud = "") {
  const heard = aloud ? `<span class='heard'>${escape(aloud)}. </span>` : "";
  return `<p class='status ${tone}'>${heard}${escape(words)}</p>`;
}

const link = (hub, path, words) =>
  `<a href='${escape(`${hub}/${path}`)}' target='_blank' rel='noopener'>${escape(words)}</a>`;

/** Return what a visitor must know of these models before believing them. */
export function notes(tasks) {
  const all = Object.values(tasks), noted = all.filter(task => task.note);
  if (!noted.length) return "";
  const same = noted.length === all.length && all.length > 1 && new Set(noted.map(task => task.note)).size === 1;
  const everyone = noted.length === 2 ? "Both" : `All ${number(all.length)}`;
  const words = same ? `${everyone}: ${noted[0].note}` : noted.map(task => `${task.title}: ${task.note}`).join("; ");
  return `<p class='note'>${escape(words.replace(/\.+$/, ""))}.</p>`;
}

/** Return the answer: decision, annotated prompt, masked copy, a row for each task, and the decision as JSON. */
export function result(hub, tasks, text, decision, latency) {
  const { answers } = decision;
  const found = Object.values(tasks).filter(task => task.head === "spans").map(task => [task, answers[task.name]]);
  const entities = placeTogether(found), chars = [...text];
  const panes = [pane(say("annotated"), `<div class='annotated' tabindex='0'>${annotate(tasks, chars, decision, entities)}</div>`)];
  if (entities.length) {
    const masked = decision.action === "mask" ? decision.prompt : found[0][1].masked;
    panes.push(pane(say("masked"), `<pre class='masked' tabindex='0'>${showInvisible([...masked])}</pre>`, true));
  }
  const rows = Object.values(tasks).map(task => row(hub, task, answers[task.name], latency[task.name])).join("");
  return `<section class='result' data-action='${decision.action}' aria-label='Answer'>${strip(decision)}`
    + `<div class='panes'>${panes.join("")}</div><ul class='rows'>${rows}</ul>${asJson(decision)}</section>`;
}

function strip(decision) {
  const warnings = decision.warnings.map(words => `<li>${escape(words)}</li>`).join("");
  return `<div class='decision ${TONES[decision.action]}'><h2>${escape(decision.headline)}</h2>`
    + `<p>${escape(decision.reason)}</p>${warnings && `<ul class=warnings>${warnings}</ul>`}</div>`;
}

const copyButton = () => `<button type='button' class='quiet' data-copy='pre'>${escape(say("copy"))}</button>`;

const pane = (title, body, copy = false) =>
  `<section class='pane'><div class='pane-top'><h3>${escape(title)}</h3>${copy ? copyButton() : ""}</div>${body}</section>`;

/** Return the text once: spans underlined and named, the window that looked like what is sought shaded. */
function annotate(tasks, chars, decision, entities) {
  const shaded = Object.entries(decision.answers)
    .filter(([name, answer]) => tasks[name].head === "detection" && answer.zone !== "pass")
    .map(([name, answer]) => [...answer.strongest, tasks[name].verdicts[0], TONES[answer.zone]])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1] || (a[2] < b[2] ? -1 : 1)).slice(0, 1);
  const shades = new Map(Object.values(tasks).filter(task => task.head === "spans").flatMap(task => [...colors(task)]));
  const parts = [];
  let end = 0;
  for (const [start, stop, words, tone] of shaded) {
    parts.push(markSpans(chars, end, start, entities, shades), `<span class='shaded ${tone}'><b class='name'>${escape(words)}</b>`,
      markSpans(chars, start, stop, entities, shades), "</span>");
    end = stop;
  }
  return parts.join("") + markSpans(chars, end, chars.length, entities, shades);
}

/** Return a stretch of the text with the entities in it marked; of one that reaches beyond, the part that is in it. */
function markSpans(chars, start, stop, entities, shades) {
  const parts = [];
  for (const entity of entities) {
    const first = Math.max(start, entity.start), last = Math.min(stop, entity.end);
    if (first >= last) continue;
    const name = entity.placeholder.replace(/^[[\]]+|[[\]]+$/g, "");
    parts.push(showInvisible(chars.slice(start, first)),
      `<mark class='span' style='--shade:${shades.get(entity.entity_group) ?? PALETTE[0]}' title='${entity.score.toFixed(2)}'>`
      + `${showInvisible(chars.slice(first, last))}<b class='name'>${escape(plain(name))}</b></mark>`);
    start = last;
  }
  return parts.join("") + showInvisible(chars.slice(start, stop));
}

/** Return characters escaped, with a chip in the place of each that does not show. */
export function showInvisible(chars) {
  return chars.map(char => (isInvisible(char)
    ? `<span class='unseen' title='a character that does not show'>${codePoint(char)}</span>` : escape(char))).join("");
}

/** Return question, answer, bar with the threshold's mark, how good the model is, and where it comes from. */
function row(hub, task, answer, ms) {
  const [words, tone, score, limit] = sayAnswer(task, answer);
  const mark = limit ? `<i class='mark' style='left:${(100 * limit).toFixed(1)}%'></i>` : "";
  let [shown, at] = limit === null ? [score.toFixed(2), ""] : compared(score, limit);
  let told = `${shown} of 1${at && limit ? `, threshold ${at}` : ""}`;
  if (task.head === "spans" && !answer.entities.length) [shown, told] = ["", "nothing found"];
  const under = `<span>${escape(shown)}</span>${at && limit ? `<span>threshold ${at}</span>` : "<span></span>"}`;
  return `<li class='row ${tone}' data-task='${escape(task.name)}'>`
    + `<div class='row-ask'><span class='ask'>${escape(task.question)}</span><strong class='said'>${escape(words)}</strong></div>`
    + `<div class='row-bar'><div class='meter' role='img' aria-label='${escape(told)}'>`
    + `<i class='fill' style='width:${(100 * score).toFixed(1)}%'></i>${mark}</div>`
    + `<p class='scale' aria-hidden='true'>${under}</p></div>`
    + `<div class='row-model'><p>${escape(sayScore(task))}</p>`
    + `<p>${source(hub, task)}</p><p>${escape(sayRead(answer, ms))}</p></div></li>`;
}

/** Return what a row says, its tone, its score and its threshold. */
function sayAnswer(task, answer) {
  if (task.head === "spans") {
    const { entities } = answer, best = Math.max(0, ...entities.map(entity => entity.score));
    const kinds = [...new Set(entities.map(entity => plain(entity.entity_group)))];
    const words = entities.length ? `${grouped(entities.length)} found: ${listed(kinds)}` : "None found";
    return [words, entities.length ? "known" : "good", best, answer.threshold];
  }
  if (task.head === "detection") {
    const [high, low] = task.verdicts;
    const said = { block: [high, "bad"], review: [`${high}? Worth a look`, "warn"], pass: [low, "good"] }[answer.zone];
    return [...said, answer.score, answer.threshold];
  }
  const best = plain(Object.keys(answer.scores)[0]);
  if (answer.fallback) return [`${plain(answer.label)} (unsure: ${best})`, "unsure", answer.score, answer.threshold];
  return [plain(answer.label), "known", answer.score, answer.threshold];
}

/** Return how good the model was on its test split. */
function sayScore({ score }) {
  if (!score) return "No test score known";
  const between = score.low === undefined ? "" : ` (${score.low.toFixed(2)} to ${score.high.toFixed(2)})`;
  return `${score.title} ${score.value.toFixed(2)}${between}${score.rows ? `, ${grouped(score.rows)} test prompts` : ""}`;
}

function source(hub, task) {
  const card = link(hub, `${task.repo}/blob/${task.revision}/README.md`, "model card");
  const data = task.dataset ? `, ${link(hub, `datasets/${task.dataset}`, "dataset")}` : "";
  return `${card}${data}, commit <code>${escape(task.revision.slice(0, 7))}</code>`;
}

/** Return which part of the text was read, and how fast. */
function sayRead({ tokens_read: tokens, windows, truncated }, ms) {
  const said = truncated ? `Read the first ${counted(tokens, "token")} only`
    : windows > 1 ? `Read all ${counted(tokens, "token")} in ${windows} windows` : `Read all ${counted(tokens, "token")}`;
  return said + (ms === undefined ? "" : ` in ${grouped(ms)} ms`);
}

function asJson(decision) {
  const shown = JSON.stringify(decision, (_, value) => (typeof value === "number" ? Number(value.toFixed(6)) : value), 2);
  return `<details class='json'><summary>${escape(say("json"))}</summary>${copyButton()}`
    + `<pre tabindex='0'>${escape(shown)}</pre></details>`;
}

/** Return what the threshold gives on the test split, with the curve and the point on it. */
export function policyWords(task, limit) {
  const whose = limit === limitOf(task) ? "Shipped threshold" : "Your threshold";
  return `<div class='policy'>${curve(task, limit)}<p><b>${whose} ${short(limit)}.</b> ${escape(sayThreshold(task, limit))}</p></div>`;
}

function curve(task, limit) {
  if (!task.curve.length) return "";
  const turned = ([a, b]) => (task.head === "classification" ? [a, b] : [b, a]);
  const axes = { detection: "harmless stopped, caught", spans: "false alarms, found", classification: "answered, right" };
  const points = task.curve.map(([, ...pair]) => turned(pair))
    .map(([x, y]) => `${(100 * x).toFixed(1)},${(60 - 60 * y).toFixed(1)}`).join(" ");
  const [x, y] = turned(findPoint(task, limit));
  return `<svg class='curve' viewBox='-3 -3 106 66' aria-hidden='true'>`
    + `<title>${axes[task.head]}</title>`
    + `<path d='M0 0V60H100' /><polyline points='${points}' />`
    + `<circle cx='${(100 * x).toFixed(1)}' cy='${(60 - 60 * y).toFixed(1)}' r='3' /></svg>`;
}
