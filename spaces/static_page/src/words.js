// What a word is, in every script: hubtools/words.py in JavaScript. Offsets count code points throughout.

// White space as Unicode has it; that of JavaScript counts a byte order mark and leaves out U+0085.
export const SPACE = /[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/u;
const UNSPACED = ["Han", "Hiragana", "Katakana", "Hangul", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"]
  .map(script => `\\p{sc=${script}}`).join("");
// Letters and digits with their marks; of scripts without spaces each character is a word of its own.
const RUN = new RegExp(`(?:(?![${UNSPACED}])[\\p{L}\\p{N}][\\p{M}\\u200c\\u200d]*)+`, "uy");
const CLUSTERS = new Intl.Segmenter("en", { granularity: "grapheme" });
const MOST = 64; // units of a cluster that are looked at: longer ones are made to break programs

/** Return [start, end] of each word of the text, in order, in code points; white space belongs to none. */
export function findWords(text) {
  const words = [];
  let unit = 0, point = 0; // the same place, in units of UTF-16 and in code points
  while (unit < text.length) {
    RUN.lastIndex = unit;
    let found = RUN.exec(text)?.[0];
    const isWord = found || !SPACE.test(text[unit]);
    found ||= isWord ? firstCluster(text, unit) : text[unit];
    const end = point + countPoints(found);
    if (isWord) words.push([point, end]);
    unit += found.length;
    point = end;
  }
  return words;
}

/** Return the grapheme cluster that begins at a unit of the text. */
function firstCluster(text, unit) {
  const simple = text.charCodeAt(unit) < 128 && !(text.charCodeAt(unit + 1) >= 128);
  return simple ? text[unit] : CLUSTERS.segment(text.slice(unit, unit + MOST))[Symbol.iterator]().next().value.segment;
}

export function countPoints(text) {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
