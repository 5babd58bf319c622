// Many prompts at once: batch.py in JavaScript. Lines or a CSV in, a table and a CSV out; all of it on this page.

import { escape, showInvisible, TONES } from "./parts.js";
import { counted, say } from "./texts.js";

export const MOST = 500; // prompts of a batch
const SHOWN = 100; // rows of the table; the CSV has all
// What Python takes for white space, and for the end of a line.
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const LINES = /[\n\v\f\x1c-\x1e\x85\u2028\u2029]/;
const BLANK = new RegExp(`^${SPACE}*$`);
// A cell that a spreadsheet takes for a formula.
const FORMULA = new RegExp(`^[\\t\\r\\n]|^${SPACE}*[-=+@\\uff1d\\uff0b\\uff0d\\uff20]`);

/** Return the prompts of a CSV with a column named text, or else every line that is not blank. */
export function readPrompts(text) {
  const plain = text.replace(/^\ufeff+/, "").replace(/\r\n?/g, "\n");
  const [header, ...rows] = readRows(plain);
  const column = header.map(name => name.trim().toLowerCase()).lastIndexOf("text");
  const found = column < 0 ? plain.split(LINES) : rows.map(row => row[column] ?? "");
  return found.filter(prompt => !BLANK.test(prompt));
}

/** Return the cells of each row of a CSV, whose lines end with \n; what is not closed goes to the end. */
function readRows(text) {
  const rows = [[]];
  for (const [, quoted = "", bare, end] of text.matchAll(/(?:"([^"]*(?:""[^"]*)*)(?:"|$))?([^,\n]*)(,|\n|$)/g)) {
    rows.at(-1).push(quoted.replaceAll('""', '"') + bare);
    if (end === "\n") rows.push([]);
    if (!end) break;
  }
  return rows;
}

/** Return a cell that no spreadsheet takes for a formula. */
export const harmless = cell => (FORMULA.test(cell) ? `'${cell}` : cell);

/** Return one row of the answers: a label and its score for each task, or what was found. */
export function cells(tasks, text, { action, prompt, answers }) {
  const said = Object.values(tasks).flatMap(({ name, head }) => {
    const { entities, label, score } = answers[name];
    if (head === "spans") return [entities.map(entity => `${entity.entity_group}: ${entity.word}`).join("; ")];
    return [label, score.toFixed(6)];
  });
  return [text, action, prompt ?? "", ...said].map(harmless);
}

/** Return rows of answers as a CSV, below the names of their columns. */
export function asCsv(tasks, rows) {
  const columns = Object.values(tasks).flatMap(({ name, head }) => (head === "spans" ? [name] : [name, `${name}_score`]));
  const quote = cell => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  return [["text", "action", "prompt_sent", ...columns], ...rows].map(row => `${row.map(quote).join(",")}\r\n`).join("");
}

/** Return the decisions as a table, below their sums and the button that downloads the CSV. */
export function asTable(prompts, decisions) {
  const rows = decisions.slice(0, SHOWN).map(({ action, headline }, place) =>
    `<tr><td>${showInvisible(shorten([...prompts[place]]))}</td>`
    + `<td class='${TONES[action]}'><strong>${escape(headline)}</strong></td></tr>`).join("");
  const sums = Object.fromEntries(Object.keys(TONES).map(action => [action, decisions.filter(one => one.action === action).length]));
  const said = say("batch_sums", { prompts: counted(decisions.length, "prompt"), ...sums });
  const more = decisions.length > SHOWN ? ` ${say("batch_shown", { shown: SHOWN })}` : "";
  return `<p class='about'><b>${said}</b>${more} `
    + `<button type='button' class='quiet' data-download='answers.csv'>${escape(say("download"))}</button></p>`
    + "<div class='many' tabindex='0'><table class='lines'><thead><tr>"
    + `<th scope='col'>${say("prompt")}</th><th scope='col'>${say("decision")}</th></tr></thead><tbody>${rows}</tbody></table></div>`;
}

const shorten = chars => (chars.length <= 200 ? chars : [...chars.slice(0, 197), ..."..."]);
