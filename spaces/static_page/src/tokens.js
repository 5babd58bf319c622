// Where the tokens of a byte-level tokenizer stand in their text, which Transformers.js does not say.

import { SPACE } from "./words.js";

// The characters that stand for bytes: those that show stand for themselves, the others are moved behind U+0100.
const SHOWN = [[33, 126], [161, 172], [174, 255]].flatMap(([from, to]) => range(from, to + 1));
const HIDDEN = range(0, 256).filter(byte => !SHOWN.includes(byte));
const BYTE_OF = new Map([...SHOWN.map(byte => [byte, byte]), ...HIDDEN.map((byte, place) => [256 + place, byte])]
  .map(([code, byte]) => [String.fromCharCode(code), byte]));
const UTF8 = new TextEncoder();
const COMBINING = "\\p{M}\\u1160-\\u11ff";
const COMPOSED = new RegExp(`[^${COMBINING}]?[${COMBINING}]+|[^${COMBINING}]`, "gu");

function range(from, to) {
  return Array.from({ length: to - from }, (_, place) => from + place);
}

/**
 * Return [start, end] of each token in code points, as the tokenizers library gives them.
 *
 * `tokens` are those of the text, special ones left out; `normalizes` says whether they are of its composed form (NFC).
 */
export function locateTokens(text, tokens, normalizes) {
  const { bytes, places } = listBytes(text, normalizes);
  let at = 0;
  return tokens.map(token => {
    const own = [...token].flatMap(char => BYTE_OF.get(char) ?? [...UTF8.encode(char)]);
    const begin = at;
    // A token that was added to the vocabulary may take the white space beside it along.
    while (at < bytes.length && bytes[at] !== own[0] && bytes[at] < 128 && SPACE.test(String.fromCharCode(bytes[at]))) at++;
    at += own.length;
    if (at > bytes.length) throw new Error("The tokens are not those of this text.");
    return [places[begin], places[at - 1] + 1];
  });
}

/** Return the bytes that are tokenized, and the code point that each comes from. */
function listBytes(text, normalizes) {
  const bytes = [], places = [];
  const add = (char, place) => { for (const byte of UTF8.encode(char)) { bytes.push(byte); places.push(place); } };
  let point = 0;
  const isComposed = !normalizes || text.normalize("NFC") === text;
  for (const part of isComposed ? text : text.match(COMPOSED)) {
    const length = [...part].length, composed = isComposed ? [part] : [...part.normalize("NFC")];
    // What is composed stands where its first character does; what follows it, at the end.
    composed.forEach((char, turn) => add(char, point + (turn && Math.max(0, turn + length - composed.length))));
    point += length;
  }
  return { bytes, places };
}

/** Make a tokenizer of Transformers.js split digits as the tokenizers library does: all of Unicode's, one by one. */
export function splitEveryDigit(preTokenizer) {
  for (const part of preTokenizer?.tokenizers ?? [preTokenizer]) {
    if (part?.config?.type === "Digits" && part.config.individual_digits) part.pattern = /[^\p{N}]+|\p{N}/gu;
  }
}
