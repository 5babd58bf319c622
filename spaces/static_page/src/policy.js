// What follows from the answers: policy.py in JavaScript. `tasks` are the entries of models.json, by name.

import { findLanguage, findScript, isInvisible, nameLanguages } from "./languages.js";
import { compared, counted, grouped, listed, number, percent, plain, say, short, upper } from "./texts.js";

export const MOST_CHARS = 100_000;
export const REVIEW = 0.5; // a detection at or above this is never passed without a look

/** Return models.json with what its entries leave out. */
export function readTasks(entries) {
  return Object.fromEntries(Object.entries(entries).map(([name, entry]) => {
    const { title } = entry;
    const inside = title.slice(1) === title.slice(1).toLowerCase() ? title.toLowerCase() : title;
    const word = plain(entry.positive ?? "");
    return [name, {
      name, threshold: null, note: "", action: "", fallback: "", dataset: "", score: null, topic: inside, inside,
      languages: [], examples: [], example_titles: [], curve: [], verdicts: [upper(word), `Not ${word}`], ...entry,
    }];
  }));
}

export const limitOf = task => task.threshold ?? 0;
const named = (tasks, answers, head) => Object.entries(answers)
  .filter(([name]) => tasks[name].head === head).map(([name, answer]) => [tasks[name], answer]);

/** Return the text that the models are given: at most so many characters, without halves of characters. */
export function readable(text) {
  return [...text].slice(0, MOST_CHARS).join("").replace(/\p{Cs}/gu, "?");
}

/** Return the tasks whose threshold can be moved. */
export function movable(tasks) {
  return Object.values(tasks).filter(task => task.head !== "classification" || (task.threshold !== null && task.fallback));
}

/** Return the threshold that a slider stands for: it moves in steps of 0.001, the shipped one may be finer. */
export function settle(task, value) {
  return Math.abs(value - limitOf(task)) < 0.0005 ? limitOf(task) : value;
}

/** Return the answer of a task at a threshold, from what its model read. */
export function answerAt(task, text, read, limit) {
  const { tokens_read, windows, truncated } = read, part = { tokens_read, windows, truncated };
  if (task.head === "spans") {
    const entities = place(read.entities.filter(entity => entity.score >= limit));
    return { entities, masked: mask(text, entities), threshold: limit, ...part };
  }
  const { scores } = read, [best] = Object.keys(scores);
  if (task.head === "classification") {
    const fallback = Boolean(task.fallback) && limit !== null && scores[best] < limit;
    return { label: fallback ? task.fallback : best, score: scores[best], threshold: limit, fallback, scores, ...part };
  }
  const score = scores[task.positive], flagged = score >= limit;
  const zone = flagged ? "block" : score >= REVIEW ? "review" : "pass";
  const label = flagged ? task.positive : Object.keys(scores).find(one => one !== task.positive);
  return { label, score, threshold: limit, flagged, zone, scores, strongest: read.strongest, ...part };
}

/** Return the entities with their placeholders: the same value gets the same. */
function place(entities) {
  const numbers = {};
  return entities.map(entity => {
    const known = numbers[entity.entity_group] ??= new Map();
    const value = entity.word.toUpperCase().toLowerCase().replaceAll("ς", "σ").trim().split(/\s+/).join(" ");
    if (!known.has(value)) known.set(value, known.size + 1);
    return { ...entity, placeholder: `[${entity.entity_group}_${known.get(value)}]` };
  });
}

function mask(text, entities) {
  const chars = [...text], parts = [];
  let end = 0;
  for (const entity of entities) {
    parts.push(...chars.slice(end, entity.start), entity.placeholder);
    end = entity.end;
  }
  return [...parts, ...chars.slice(end)].join("");
}

/** Return the entities of several tasks in the order of the text; of two that overlap the earlier one. */
export function placeTogether(spans) {
  const kept = [], all = spans.flatMap(([, answer]) => answer.entities);
  for (const entity of all.sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (!kept.length || entity.start >= kept.at(-1).end) kept.push(entity);
  }
  return kept;
}

/** Return the decision on a text, as typed; `limits` by task, or null for the shipped ones. */
export function decide(tasks, whole, reads, limits = null) {
  const text = readable(whole);
  const answers = Object.fromEntries(Object.entries(reads).map(([name, read]) => {
    const task = tasks[name], shipped = task.head === "spans" ? limitOf(task) : task.threshold;
    return [name, answerAt(task, text, read, limits?.[name] ?? (limits && task.head === "classification" ? null : shipped))];
  }));
  const detections = named(tasks, answers, "detection"), labels = named(tasks, answers, "classification");
  const spans = named(tasks, answers, "spans").filter(([, answer]) => answer.entities.length);
  const zones = detections.map(([, answer]) => answer.zone);
  let action, headline, reason, prompt = null;
  if (zones.includes("block") || zones.includes("review")) {
    action = zones.includes("block") ? "block" : "review";
    headline = action === "block" ? "Blocked" : "Review";
    reason = detections.filter(([, a]) => a.zone === action).map(([task, a]) => sayDetection(task, a)).join(" ");
  } else {
    action = spans.length ? "mask" : "pass";
    headline = sayActions(spans, labels, detections.length > 0);
    prompt = spans.length ? mask(text, placeTogether(spans)) : text;
    reason = sayReason(detections, spans, labels);
  }
  const models = Object.fromEntries(Object.values(tasks).map(task => [task.name, `${task.repo}@${task.revision}`]));
  return { action, headline, reason, prompt, warnings: warn(tasks, whole), answers, models };
}

function sayActions(spans, labels, passed) {
  const parts = spans.map(([task]) => task.action || `mask ${task.topic}`);
  for (const [task, answer] of labels) if (task.action) parts.push(task.action.replace("{label}", plain(answer.label)));
  if (!parts.length && passed) parts.push("let it through");
  if (!parts.length) parts.push(...labels.map(([task, answer]) => `${task.inside}: ${plain(answer.label)}`));
  return upper((parts.length ? parts : ["nothing found"]).join(", then "));
}

function sayDetection(task, answer) {
  const [score, limit] = compared(answer.score, answer.threshold);
  const where = answer.windows > 1 ? `, in one of ${answer.windows} parts of the text` : "";
  if (answer.zone === "block") return `${task.verdicts[0]}: ${score}, at or above the threshold ${limit}${where}.`;
  const [apart] = compared(answer.score, REVIEW), shown = apart.length > score.length ? apart : score;
  return `${task.verdicts[0]}: ${shown}${where}. That is below the threshold ${limit}, and too much to pass unseen.`;
}

function sayReason(detections, spans, labels) {
  const said = detections.map(([task, a]) => `${task.verdicts[1]} (${compared(a.score, REVIEW)[0]}).`);
  for (const [task, { entities }] of spans) {
    const kinds = [...new Set(entities.map(entity => plain(entity.entity_group)))];
    said.push(`${counted(entities.length, "span")} of ${task.topic}: ${listed(kinds)}.`);
  }
  for (const [task, answer] of labels) {
    const label = plain(answer.label);
    if (answer.fallback) {
      const [shown, limit] = compared(answer.score, answer.threshold);
      const best = plain(Object.keys(answer.scores)[0]);
      said.push(`${task.title} unsure: ${best} at ${shown} is below ${limit}, so ${label}.`);
    } else said.push(`${task.title}: ${label} (${answer.score.toFixed(2)}).`);
  }
  return said.join(" ");
}

/** Return which languages the models know; "" where nobody knows. */
export function sayLanguages(tasks) {
  const groups = new Map(), all = Object.values(tasks);
  for (const task of all) {
    const languages = nameLanguages(task.languages), key = languages.join();
    groups.set(key, { languages, titles: [...(groups.get(key)?.titles ?? []), task.title] });
  }
  return [...groups.values()].filter(({ languages }) => languages.length).map(({ languages, titles }) => {
    const several = titles.length > 1;
    const who = titles.length === all.length ? `The model${several ? "s" : ""}` : listed(titles);
    return say("knows", { who, verb: several ? "know" : "knows", languages: listed(languages) });
  }).join(" ");
}

/** Return what a reader must know of this text before believing the answers. */
export function warn(tasks, text) {
  const said = [], chars = [...text];
  const sets = [...new Set(Object.values(tasks).map(task => nameLanguages(task.languages).join()))]
    .filter(Boolean).map(names => names.split(","));
  const found = sets.map(known => {
    const script = findScript(text, known);
    return { script, language: script ? null : findLanguage(text, known) };
  });
  const script = found.find(one => one.script), language = found.find(one => one.language);
  if (script || language) {
    const which = found.every(one => one.script || one.language) ? "these" : "all";
    const first = script ? say("script", script) : say("language", language);
    said.push(`${first} ${sayLanguages(tasks)} ${say("distrust", { which })}`);
  }
  const count = chars.filter(isInvisible).length;
  if (count) said.push(say("invisible", { count: counted(count, "character"), verb: count === 1 ? "does" : "do" }));
  if (chars.length > MOST_CHARS) said.push(say("cut", { length: grouped(chars.length), limit: grouped(MOST_CHARS) }));
  return said;
}

/** Return what a task does at this threshold, as measured on its test split. */
export function sayThreshold(task, limit) {
  const reached = findPoint(task, limit);
  if (!reached) return `${task.head === "spans" ? `${say("marks", { limit: short(limit) })} ` : ""}${say("unmeasured")}`;
  const [first, second] = reached;
  if (task.head === "spans") return say("finds", { found: percent(first), topic: task.topic, alarms: percent(second) });
  if (task.head === "classification") {
    if (first === 0) return `Answers nothing: every prompt goes to ${plain(task.fallback)}.`;
    const others = first < 1 ? `; the others become ${plain(task.fallback)}` : "";
    return `Answers ${percent(first)} of prompts, ${percent(second)} of these rightly${others}.`;
  }
  const said = `Catches ${percent(first)} of what is ${plain(task.positive)}, stops ${percent(second)} of harmless prompts.`;
  const wider = findPoint(task, REVIEW);
  if (limit <= REVIEW || !wider) return said;
  return `${said} For review: another ${percent(wider[0] - first)}, and ${percent(wider[1] - second)} of harmless prompts.`;
}

/** Return the shares of the curve at a threshold; null without a curve. */
export function findPoint(task, limit) {
  if (!task.curve.length) return null;
  return task.curve.filter(([at]) => at >= limit).at(-1)?.slice(1) ?? [0, 0];
}

export function countTasks(tasks) {
  const count = Object.keys(tasks).length;
  return count === 1 ? "a question" : `${number(count)} questions`;
}
