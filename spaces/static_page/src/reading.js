// How a model reads a text: hubtools/reading.py in JavaScript. Windows that overlap, spans that end where words do.

import { findWords } from "./words.js";

export const SIZE = 512, OVERLAP = 255; // tokens of a window, special ones included, and those that two share
const SMALLEST = 1e-12; // a probability of 0 would make a path impossible, whatever else speaks for it
const OPENING = "BSU";
const PREFIX = /^[BSUIEL]-(?=.)/;

/** Return [start, stop] of the windows over so many places. */
export function cutWindows(tokens, size, overlap) {
  const windows = [];
  for (let start = 0; ; start += size - overlap) {
    windows.push([start, Math.min(start + size, tokens)]);
    if (start + size >= tokens) return windows;
  }
}

/** Return the number of the window in which each token has most context to its nearer side. */
export function chooseWindows(windows) {
  const chosen = new Array(windows.at(-1)[1]).fill(0), most = new Array(chosen.length).fill(-1);
  windows.forEach(([start, stop], number) => {
    for (let place = start; place < stop; place++) {
      const context = Math.min(place - start, stop - 1 - place);
      if (context > most[place]) { most[place] = context; chosen[place] = number; }
    }
  });
  return chosen;
}

/**
 * Return what a text is cut into: its windows of token ids, special ones around them, and how much of it they hold.
 *
 * `encoded` has ids and offsets of all of its tokens; `frame` the special ones before and behind, `most` how many
 * tokens the model reads. Not `windowed`, the first window alone is read.
 */
export function plan(encoded, frame, most, windowed) {
  const size = Math.min(SIZE, most) - frame.before.length - frame.behind.length;
  const all = encoded.ids.length;
  const windows = windowed ? cutWindows(all, size, Math.min(OVERLAP, Math.floor(size / 2))) : [[0, Math.min(size, all)]];
  const rows = windows.map(([start, stop]) => [...frame.before, ...encoded.ids.slice(start, stop), ...frame.behind]);
  return { windows, rows, offsets: encoded.offsets, read: windows.at(-1)[1], truncated: windows.at(-1)[1] < all };
}

const told = ({ read, windows, truncated }) => ({ tokens_read: read, windows: windows.length, truncated });

/** Return the answer to a text as a whole; `logits` of each window. The window with most of `positive` decides. */
export function readLabel(text, cut, logits, labels, positive) {
  const rows = logits.map(softmax), sought = labels.indexOf(positive);
  let decides = 0;
  rows.forEach((row, number) => { if (sought >= 0 && row[sought] > rows[decides][sought]) decides = number; });
  const ranked = labels.map((label, index) => [label, rows[decides][index]]).sort((a, b) => b[1] - a[1]);
  const answer = { scores: Object.fromEntries(ranked), ...told(cut) };
  if (positive) {
    const chars = [...text], [start, stop] = cut.windows[decides];
    answer.strongest = start < stop ? strip(chars, cut.offsets[start][0], cut.offsets[stop - 1][1]) : [0, chars.length];
  }
  return answer;
}

/** Return the spans of a text; `logits` of each window: of each of its tokens, special ones left out. */
export function readSpans(text, cut, logits, tags) {
  const chosen = chooseWindows(cut.windows), probabilities = [];
  cut.windows.forEach(([start, stop], number) => {
    for (let place = start; place < stop; place++) {
      if (chosen[place] === number) probabilities[place] = softmax(logits[number][place - start]);
    }
  });
  return { entities: findSpans(text, probabilities, cut.offsets.slice(0, cut.read), tags), ...told(cut) };
}

/** Return the spans that the probabilities of the tags of each token amount to, decided over words. */
export function findSpans(text, probabilities, offsets, tags) {
  const { types, tokens } = sumTags(probabilities, tags);
  const words = joinWords(text, offsets), chars = [...text];
  if (!words.length || !types.length) return [];
  return listRuns(findBestPath(words.map(word => tieTokens(word, tokens)))).map(([first, end, type]) => {
    const own = [...new Set(words.slice(first, end).flatMap(word => word.tokens))];
    const start = words[first].start, stop = words[end - 1].end;
    return {
      entity_group: types[type], start, end: stop,
      score: mean(own.map(token => Math.min(1, tokens[token].opens[type] + tokens[token].goesOn[type]))),
      word: chars.slice(start, stop).join(""),
    };
  });
}

/** Return the words of a text that have a token, in order; a token of white space alone belongs to none. */
export function joinWords(text, offsets) {
  const words = [];
  let first = 0, seen = -1;
  for (const [start, end] of findWords(text)) {
    while (first < offsets.length && offsets[first][1] <= start) first++;
    const tokens = [];
    for (let token = first; token < offsets.length && offsets[token][0] < end; token++) {
      if (offsets[token][1] > Math.max(start, offsets[token][0])) tokens.push(token);
    }
    if (tokens.length) words.push({ start, end, tokens, beginsWithinToken: tokens[0] === seen });
    seen = tokens.at(-1) ?? seen;
  }
  return words;
}

/** Return the types, and of each token how probably it opens each, goes on with each, or is outside. */
function sumTags(probabilities, tags) {
  const hasPrefixes = tags.some(tag => /^[BI]-/.test(tag));
  const split = tags.map(tag => (hasPrefixes && PREFIX.test(tag) ? [tag[0], tag.slice(2)] : ["", tag]));
  const types = [...new Set(split.filter((_, index) => tags[index] !== "O").map(([, name]) => name))];
  const kinds = types.map(type => split.filter(([, name]) => name === type).map(([prefix]) => prefix));
  const tokens = probabilities.map(row => {
    const token = { opens: types.map(() => 0), goesOn: types.map(() => 0), outside: 0 };
    split.forEach(([prefix, name], column) => {
      if (tags[column] === "O") token.outside += row[column];
      else (prefix && OPENING.includes(prefix) ? token.opens : token.goesOn)[types.indexOf(name)] += row[column];
    });
    // A type with one kind of tag alone: it stands for both; where both may be, the span goes on.
    kinds.forEach((prefixes, type) => {
      const opening = prefixes.filter(prefix => prefix && OPENING.includes(prefix));
      if (!opening.length) token.opens[type] = token.goesOn[type] * 0.999;
      else if (opening.length === prefixes.length) token.goesOn[type] = token.opens[type];
    });
    return token;
  });
  return { types, tokens };
}

/** Return log-probabilities of a word to open, to go on and to be outside: the mean over its tokens. */
function tieTokens(word, tokens) {
  const log = value => Math.log(Math.max(value, SMALLEST));
  const [head, ...rest] = word.tokens.map(token => tokens[token]);
  const over = (first, type) =>
    (first + rest.reduce((sum, token) => sum + log(token.opens[type] + token.goesOn[type]), 0)) / word.tokens.length;
  return {
    opens: head.opens.map((value, type) => over(log(value), type)),
    // Of a token that covers several words the later ones belong to the span, whether it is tagged B or I.
    goesOn: head.goesOn.map((value, type) => over(log(word.beginsWithinToken ? value + head.opens[type] : value), type)),
    outside: mean(word.tokens.map(token => log(tokens[token].outside))),
  };
}

/** Return the most probable tags of words, 0 for O, then all B, then all I: an I follows a B or I of its type alone. */
function findBestPath(words) {
  const types = words[0].opens.length;
  const scores = words.map(word => [word.outside, ...word.opens, ...word.goesOn]);
  let best = scores[0].map((score, tag) => (tag > types ? -Infinity : score));
  const before = [];
  for (const row of scores.slice(1)) {
    const any = argmax(best);
    const from = row.map((_, tag) => (tag <= types ? any : best[tag - types] >= best[tag] ? tag - types : tag));
    best = row.map((score, tag) => score + best[from[tag]]);
    before.push(from);
  }
  const path = [argmax(best)];
  for (const from of before.reverse()) path.unshift(from[path[0]]);
  return path.map(tag => (tag === 0 ? ["O", -1] : [tag <= types ? "B" : "I", (tag - 1) % types]));
}

/** Return [first word, word after the last, type] of each span. */
function listRuns(path) {
  const runs = [];
  let begin = null;
  [...path, ["O", -1]].forEach(([prefix], number) => {
    if (prefix === "I") return;
    if (begin !== null) runs.push([begin, number, path[begin][1]]);
    begin = prefix === "B" ? number : null;
  });
  return runs;
}

/** Return a start and an end without the white space at either side. */
function strip(chars, start, end) {
  const isSpace = char => /[\s\x1c-\x1f\x85]/u.test(char) && char !== "\ufeff";
  while (start < end && isSpace(chars[start])) start++;
  while (end > start && isSpace(chars[end - 1])) end--;
  return [start, end];
}

function softmax(logits) {
  const most = Math.max(...logits), powers = [...logits].map(value => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map(power => power / sum);
}

function argmax(values) {
  return values.reduce((best, value, index) => (value > values[best] ? index : best), 0);
}

function mean(values) {
  return values.reduce((a, b) => a + b) / values.length;
}
