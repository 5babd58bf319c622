// How numbers and lists are said, as texts.py does; the texts themselves are those of texts.json.

import texts from "../../router_demo/texts.json" with { type: "json" };

const NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split(" ");

/** Return a text of texts.json with its holes filled. */
export function say(key, values = {}) {
  return texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const grouped = count => Math.round(count).toLocaleString("en-US");
export const number = count => NUMBERS[count] ?? grouped(count);
export const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
export const upper = words => words.slice(0, 1).toUpperCase() + words.slice(1);
export const plain = label => label.replaceAll("_", " ");

/** Return words such as "a, b and c". */
export function listed(words) {
  const most = words.slice(0, -1);
  return most.length ? `${most.join(", ")} and ${words.at(-1)}` : words.at(-1);
}

/** Return both numbers with two decimals, or with as many as it takes to tell them apart. */
export function compared(value, limit) {
  for (let digits = 2; ; digits++) {
    const shown = [value.toFixed(digits), limit.toFixed(digits)];
    if (shown[0] !== shown[1] || value === limit || digits === 6) return shown;
  }
}

/** Return a share such as "94%"; never 0% or 100% where it is not quite that. */
export function percent(share) {
  const shown = (100 * share).toFixed(0);
  if ((shown === "0" && share > 0) || (shown === "100" && share < 1)) {
    if (share >= 0.0005 && share < 0.9995) return `${(100 * share).toFixed(1)}%`;
    return share < 0.5 ? "under 0.1%" : "over 99.9%";
  }
  return `${shown}%`;
}

/** Return a number as short as its six digits allow. */
export const short = value => String(Number(value.toPrecision(6)));
